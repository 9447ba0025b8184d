// Package demo plays both ends of an integration, so that a newcomer sees the program
// at work: a shop that sends signed orders, and an ERP that receives signed deliveries
// and is sometimes busy. Both speak real HTTP and know Malote only from outside.
package demo

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Flow is the flow file that connects the shop to the ERP. Its ${…} are answered by
// Demo.Lookup.
//
//go:embed flow.yaml
var Flow []byte

// FlowName is the name under which errors speak of Flow.
const FlowName = "demo/flow.yaml"

// pace is the pause between two orders of the shop.
const pace = 1500 * time.Millisecond

// Demo is a shop and an ERP. New makes one; Run plays it.
type Demo struct {
	listener   net.Listener
	shopSecret string
	erpKey     []byte // what deliveries to the ERP are signed with
	logger     *slog.Logger
}

// New opens the ERP's port on loopback and draws fresh secrets.
func New(ctx context.Context, logger *slog.Logger) (*Demo, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a port for the demo's ERP: %w", err)
	}
	key := make([]byte, 32)
	rand.Read(key)
	return &Demo{listener: listener, shopSecret: rand.Text(), erpKey: key, logger: logger}, nil
}

// Allow returns the CIDR and port that deliveries must be allowed to reach.
func (d *Demo) Allow() string {
	host, port, _ := net.SplitHostPort(d.listener.Addr().String())
	return host + "/32:" + port
}

// Lookup answers the variables of Flow, as os.LookupEnv does for other flows.
func (d *Demo) Lookup(name string) (string, bool) {
	switch name {
	case "SHOP_SECRET":
		return d.shopSecret, true
	case "ERP_URL":
		return "http://" + d.listener.Addr().String() + "/orders", true
	case "ERP_SIGNING_SECRET":
		return "whsec_" + base64.StdEncoding.EncodeToString(d.erpKey), true
	default:
		return "", false
	}
}

// Run receives deliveries, and sends orders to the source at the given URL, until ctx
// is done.
func (d *Demo) Run(ctx context.Context, source string) error {
	server := &http.Server{Handler: http.HandlerFunc(d.receive), ReadTimeout: 10 * time.Second, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	go d.shop(ctx, source)
	if err := server.Serve(d.listener); ctx.Err() == nil {
		return fmt.Errorf("serve the demo's ERP: %w", err)
	}
	return nil
}

// shop sends an order every pace. One in nine carries a wrong signature, as a shop
// does whose secret was changed on one side only.
func (d *Demo) shop(ctx context.Context, source string) {
	client := &http.Client{Timeout: 10 * time.Second}
	number := 10000 + int(time.Now().Unix()%10000)
	for tick := time.NewTicker(pace); ; {
		number++
		secret := d.shopSecret
		if number%9 == 0 {
			secret = "yesterday's secret"
		}
		if err := sendOrder(ctx, client, source, secret, number); err != nil && ctx.Err() == nil {
			d.logger.Warn("the demo's shop could not send its order", "order", number, "error", err)
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}

// sendOrder posts one order, signed as Shopify signs: base64 of HMAC-SHA256 over the body.
func sendOrder(ctx context.Context, client *http.Client, source, secret string, number int) error {
	body, err := json.Marshal(newOrder(number))
	if err != nil {
		return fmt.Errorf("write the order: %w", err)
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, source, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("address the order: %w", err)
	}
	id := make([]byte, 16)
	rand.Read(id)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Shopify-Topic", "orders/create")
	request.Header.Set("X-Shopify-Shop-Domain", "padaria-aurora.myshopify.com")
	request.Header.Set("X-Shopify-Webhook-Id", hex.EncodeToString(id))
	request.Header.Set("X-Shopify-Hmac-Sha256", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("send the order: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16))
	return err
}

type order struct {
	ID          int64  `json:"id"`
	OrderNumber int    `json:"order_number"`
	CreatedAt   string `json:"created_at"`
	Currency    string `json:"currency"`
	TotalPrice  string `json:"total_price"`
	Customer    struct {
		ID    int    `json:"id"`
		Name  string `json:"name"`
		Email string `json:"email"`
	} `json:"customer"`
	Items []item `json:"line_items"`
}

type item struct {
	SKU      string `json:"sku"`
	Title    string `json:"title"`
	Quantity int    `json:"quantity"`
	Price    string `json:"price"`
}

func newOrder(number int) order {
	people := []string{"Ana Souza", "Bruno Lima", "Célia Rocha", "Davi Nunes", "Elisa Prado", "Fábio Teixeira"}
	goods := []struct {
		sku, title string
		cents      int
	}{
		{"CAFE-500", "Café torrado 500 g", 3490},
		{"PAO-MIX", "Cesta de pães", 5200},
		{"QUEIJO-MG", "Queijo canastra 1 kg", 8990},
		{"GELEIA", "Geleia de jabuticaba", 2750},
	}
	who := mathrand.IntN(len(people))
	placed := order{ID: int64(number) * 7919, OrderNumber: number, CreatedAt: time.Now().Format(time.RFC3339), Currency: "BRL"}
	placed.Customer.ID, placed.Customer.Name = 500+who, people[who]
	placed.Customer.Email = "cliente" + strconv.Itoa(who) + "@example.com"
	total := 0
	for range 1 + mathrand.IntN(3) {
		good, quantity := goods[mathrand.IntN(len(goods))], 1+mathrand.IntN(3)
		total += quantity * good.cents
		placed.Items = append(placed.Items, item{good.sku, good.title, quantity, reais(good.cents)})
	}
	placed.TotalPrice = reais(total)
	return placed
}

func reais(cents int) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }

// receive is the ERP: it checks the Standard Webhooks signature as any receiver
// would, and is busy for one request in seven.
func (d *Demo) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "unreadable body", http.StatusBadRequest)
		return
	}
	mac := hmac.New(sha256.New, d.erpKey)
	mac.Write([]byte(r.Header.Get("webhook-id") + "." + r.Header.Get("webhook-timestamp") + "."))
	mac.Write(body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	answer := func(status int, text string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text) // a caller who is gone needs no answer
	}
	switch {
	case !hmac.Equal([]byte(want), []byte(r.Header.Get("webhook-signature"))):
		answer(http.StatusUnauthorized, `{"erro":"assinatura inválida"}`)
	case mathrand.IntN(7) == 0:
		answer(http.StatusServiceUnavailable, `{"erro":"ERP em fechamento, tente de novo"}`)
	default:
		answer(http.StatusOK, `{"status":"importado"}`)
	}
}
