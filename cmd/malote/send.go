package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/api"
	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/shell"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/strict"
)

// sending is the flags of send.
type sending struct {
	eventType, key, id string
	data               string
	headers            []string
	sign, secret       string
}

func (c *cli) sendCommand() *cobra.Command {
	s := &sending{}
	command := &cobra.Command{
		Use:   "send SOURCE",
		Short: "Send an event to a source",
		Long: `Publish an event to a source through the API. With --sign, post it to /in/SOURCE instead,
signed as a sender would, to try out the source's verification.

--data is the payload here. The data folder, where the admin token is read when none is
given, is named by MALOTE_DATA or by the configuration file.`,
		Args: shell.One("the name or id of a source"),
		Example: `  malote send shop --type orders/create --payload '{"id": 1}'
  malote send shop --payload @order.json --sign shopify --secret "$SHOP_SECRET" --header 'X-Shopify-Topic: orders/create'
  generate-orders | malote send shop --payload -`,
	}
	flags := command.Flags()
	flags.StringVar(&s.eventType, "type", "", "event `TYPE`; without it, it is read where the source says")
	flags.StringVar(&s.key, "key", "", "business `KEY`, such as an order number")
	flags.StringVar(&s.id, "id", "", "your own `ID` of the event: a second one with the same id is a duplicate")
	flags.StringVarP(&s.data, "payload", "d", "{}", "payload: a `TEXT`, @FILE, or - for the standard input")
	flags.StringVar(&s.data, "data", "{}", "another name of --payload, as a `TEXT`, @FILE, or -")
	flags.StringArrayVar(&s.headers, "header", nil, "`HEADER` as 'Name: value' (repeatable)")
	flags.StringVar(&s.sign, "sign", "", "post to /in/SOURCE, signed by this `SCHEME`: "+strings.Join(signature.SignSchemes(), ", ")+", or none")
	flags.StringVar(&s.secret, "secret", "", "`SECRET` for --sign")
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		if command.Flags().Changed("payload") && command.Flags().Changed("data") {
			return shell.WrongUsage(command, "--payload and --data are two names of the same: give one of them")
		}
		payload, err := s.payload(c)
		if err != nil {
			return err
		}
		headers, err := s.header(command)
		if err != nil {
			return err
		}
		request := &client.Incoming{Source: args[0], Header: headers, Body: payload}
		if s.sign != "" {
			return s.post(c, command, server, request)
		}
		if s.secret != "" {
			return shell.WrongUsage(command, "--secret goes with --sign: name the scheme")
		}
		return s.publish(c, command, server, request)
	}))
}

// maxPayload is how much of a file or of the standard input is read, in bytes.
const maxPayload = 32 << 20

func (s *sending) payload(c *cli) ([]byte, error) {
	name, isFile := strings.CutPrefix(s.data, "@")
	switch {
	case s.data == "-":
		data, err := io.ReadAll(io.LimitReader(c.In, maxPayload+1))
		if err != nil {
			return nil, fmt.Errorf("read the standard input: %w", err)
		}
		if len(data) > maxPayload {
			return nil, hook.Errorf(hook.KindTooLarge, "the standard input is longer than %d MiB, the most that is sent", maxPayload>>20)
		}
		return data, nil
	case isFile:
		data, err := c.ReadFile(name)
		if err != nil {
			return nil, hook.Errorf(hook.KindInvalid, "the payload cannot be read: %w", err)
		}
		return data, nil
	default:
		return []byte(s.data), nil
	}
}

func (s *sending) header(command *cobra.Command) (http.Header, error) {
	header := http.Header{}
	for _, line := range s.headers {
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, shell.WrongUsage(command, "--header: %q has no name and value: write 'Name: value'", line)
		}
		header.Add(name, strings.TrimSpace(value))
	}
	return header, nil
}

// publish hands the event to the API.
func (s *sending) publish(c *cli, command *cobra.Command, server *client.Client, request *client.Incoming) error {
	event := &api.EventIn{Source: request.Source, Type: s.eventType, Key: s.key, ID: s.id, Headers: map[string]string{}}
	for name := range request.Header {
		event.Headers[name] = request.Header.Get(name)
	}
	if json.Valid(request.Body) {
		event.Payload = request.Body
	} else {
		event.Text = string(request.Body)
	}
	receipt, err := server.Publish(command.Context(), event)
	if err != nil {
		return err
	}
	if c.JSON {
		return c.PrintJSON(receipt)
	}
	if receipt.Duplicate {
		return c.Printf("%s (a duplicate: it was accepted before)\n", receipt.ID)
	}
	return c.Printf("%s\n", receipt.ID)
}

// post sends the payload as a sender outside would.
func (s *sending) post(c *cli, command *cobra.Command, server *client.Client, request *client.Incoming) error {
	if s.eventType != "" || s.key != "" {
		return shell.WrongUsage(command, "with --sign the source reads type and key from the request: give them by --header or in the data")
	}
	if request.Header.Get("Content-Type") == "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if err := s.signRequest(c, command, server, request); err != nil {
		return err
	}
	status, body, err := server.Send(command.Context(), request)
	if err != nil {
		return err
	}
	if status < http.StatusOK || status >= http.StatusMultipleChoices {
		return hook.Errorf(hook.KindInvalid, "%s answers %d: %s; \"malote refused --source %s\" says why",
			server.SourceURL(request.Source), status, strings.TrimSpace(shell.Printable(string(body))), request.Source)
	}
	if c.JSON {
		return c.PrintJSON(map[string]any{"status": status, "body": string(body)})
	}
	return c.Printf("%d %s\n", status, shell.Printable(string(body)))
}

func (s *sending) signRequest(c *cli, command *cobra.Command, server *client.Client, request *client.Incoming) error {
	if s.sign == "none" {
		return nil
	}
	if schemes := signature.SignSchemes(); strict.Nearest(s.sign, schemes) != s.sign {
		return shell.WrongUsage(command, "--sign: unknown scheme %q%s", s.sign, strict.Suggest(s.sign, schemes))
	}
	if s.secret == "" {
		return shell.WrongUsage(command, "--sign needs the source's secret: give it by --secret")
	}
	signer, err := signature.NewSigner(&hook.Sign{Scheme: s.sign, Secret: hook.Secret(s.secret)})
	if err != nil {
		return errors.Join(errors.New("the request cannot be signed"), err)
	}
	now := c.Now()
	id := s.id
	if id == "" {
		id = hook.EventID(hook.NewIDs(0).Next(now)).String()
	}
	message := &signature.Message{ID: id, Time: now, Method: http.MethodPost, URL: server.SourceURL(request.Source), Body: request.Body}
	return signer.Sign(message, request.Header.Set)
}
