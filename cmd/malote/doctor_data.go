package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"malote.dev/malote/internal/config"
	"malote.dev/malote/internal/flow"
	"malote.dev/malote/internal/seal"
	"malote.dev/malote/internal/signature"
)

// examineFiles checks the files that the settings name.
func examineFiles(_ context.Context, settings *config.Settings) ([]finding, error) {
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
	return append(findings, examineFolder(settings.Data)...), nil
}

// judge makes a finding of an error, or of what is said when there is none.
func judge(check, said string, err error) finding {
	if err != nil {
		return finding{Check: check, Level: levelFault, Detail: oneLine(err)}
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
	return judge("profiles", fmt.Sprintf("%s, those of %s included", plural(len(gallery.Names()), "profile"), folder), nil)
}

// examineFlows reads the flow files; their variables need not be set here.
func examineFlows(path string) finding {
	files, err := flow.ReadFiles(path)
	if err == nil {
		_, err = flow.Parse(files, flow.Options{Lookup: os.LookupEnv})
	}
	return judge("flows", path+" has no mistakes", err)
}

// examineFolder checks the data folder and the files in it that hold secrets.
func examineFolder(folder string) []finding {
	info, err := os.Stat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []finding{{Check: "data folder", Level: levelNote, Detail: folder + " is not there yet: the first start creates it"}}
	case err != nil:
		return []finding{judge("data folder", "", err)}
	case !info.IsDir():
		return []finding{judge("data folder", "", fmt.Errorf("%s is not a folder", folder))}
	}
	findings := []finding{judge("data folder", folder+" is there", nil)}
	if found, ok := examinePrivate(folder, "key file", seal.FileName, "without it no secret in the database can be read: restore it from a backup"); ok {
		findings = append(findings, found)
	}
	if found, ok := examinePrivate(folder, "admin token", adminToken, ""); ok {
		findings = append(findings, found)
	}
	return findings
}

// examinePrivate checks a file that only its owner may read. A file that is missing is
// a fault only when lost says what that means and there is a database.
func examinePrivate(folder, check, name, lost string) (finding, bool) {
	path := filepath.Join(folder, name)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		databases, _ := filepath.Glob(filepath.Join(folder, "*.db")) // the pattern is well formed
		return finding{Check: check, Level: levelFault, Detail: path + " is missing", Mend: lost}, lost != "" && len(databases) > 0
	case err != nil:
		return judge(check, "", err), true
	case info.Mode().Perm()&0o077 != 0:
		return finding{
			Check: check, Level: levelFault, Detail: fmt.Sprintf("%s can be read by others (mode %04o)", path, info.Mode().Perm()), Mend: "chmod 600 " + path,
		}, true
	}
	return judge(check, path+" is its owner's alone", nil), true
}
