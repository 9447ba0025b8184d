package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"malote.dev/malote/internal/app"
	"malote.dev/malote/internal/config"
	"malote.dev/malote/internal/flow"
	"malote.dev/malote/internal/shell"
	"malote.dev/malote/internal/signature"
)

// examineFiles checks the files that the settings name.
func examineFiles(ctx context.Context, settings *config.Settings) ([]finding, error) {
	var findings []finding
	if settings.Profiles != "" {
		findings = append(findings, examineProfiles(settings.Profiles))
	}
	if settings.Flows != "" {
		findings = append(findings, examineFlows(settings.Flows))
	}
	if settings.TLSCert != "" {
		_, err := tls.LoadX509KeyPair(settings.TLSCert, settings.TLSKey)
		findings = append(findings, judge("certificate", settings.TLSCert+" and its key fit", err))
	}
	data, err := examineFolder(ctx, settings)
	return append(findings, data...), err
}

// judge makes a finding of an error, or of what is said when there is none.
func judge(check, said string, err error) finding {
	if err != nil {
		return finding{Check: check, Level: levelProblem, Detail: oneLine(err)}
	}
	return finding{Check: check, Level: levelFine, Detail: said}
}

// oneLine writes an error and its problems in one line.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func examineProfiles(folder string) finding {
	gallery, err := signature.NewGallery(os.DirFS(folder))
	if err != nil {
		return judge("profiles", "", err)
	}
	return judge("profiles", fmt.Sprintf("%s, those of %s included", shell.Plural(len(gallery.Names()), "profile"), folder), nil)
}

// examineFlows reads the flow files as the start of a server would, with the variables
// of this environment.
func examineFlows(path string) finding {
	files, err := flow.ReadFiles(path)
	if err == nil {
		_, err = flow.Parse(files, flow.Options{Lookup: os.LookupEnv, Rules: app.OfflineRules()})
	}
	return judge("flows", path+" has no mistakes", err)
}

// examineFolder checks the data folder and what the program keeps in it.
func examineFolder(ctx context.Context, settings *config.Settings) ([]finding, error) {
	const check = "data"
	if _, err := os.Stat(settings.Data); errors.Is(err, fs.ErrNotExist) {
		return []finding{{Check: check, Level: levelNote, Detail: settings.Data + " is not there yet: the first start creates it"}}, nil
	}
	report, err := app.Doctor(ctx, *settings)
	if err != nil {
		return nil, err
	}
	use := "not in use"
	if report.InUse {
		use = "in use by a running server"
	}
	findings := []finding{{Check: check, Level: levelFine, Detail: fmt.Sprintf("%s has %s of data in version %d, %s are free; it is %s",
		report.Dir, shell.Size(report.SizeBytes), report.Version, shell.Size(report.FreeBytes), use)}}
	for _, each := range report.Findings {
		findings = append(findings, finding{Check: check, Level: string(each.Severity), Detail: each.What, Mend: each.Mend})
	}
	return findings, nil
}
