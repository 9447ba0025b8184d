package config

import "malote.dev/malote/internal/hook"

// Settings are the effective settings of one run. The tags declare each: its key (in
// the file, and as the flag --key; the variable is MALOTE_KEY in capitals with
// underscores), its default, its group, and what it is for.
//
//nolint:lll // a declaration is one tag, and reads as one line
type Settings struct {
	ConfigFile string `key:"config" metavar:"FILE" group:"files" help:"read settings from this YAML file; default: malote.yaml in the working directory, if it is there"`
	Data       string `key:"data" metavar:"DIR" default:"./malote-data" group:"files" help:"folder that holds the database, the key that seals secrets, and the admin token"`
	Flows      string `key:"flows" metavar:"PATH" group:"files" help:"apply this flow file, or all flow files of this folder, at the start"`
	Profiles   string `key:"profiles" metavar:"DIR" group:"files" help:"folder with provider profiles of your own, besides the built-in ones"`
	Database   string `key:"database" metavar:"URL" default:"sqlite" group:"files" help:"where data is stored: sqlite, in the data folder"`

	Listen         string   `key:"listen" metavar:"HOST:PORT" default:"127.0.0.1:8420" group:"network" help:"address on which requests, the API and the dashboard are served"`
	PublicURL      string   `key:"public-url" metavar:"URL" group:"network" help:"how senders reach this server from outside; some providers sign it; default: taken from each request"`
	TrustedProxies []string `key:"trusted-proxies" metavar:"CIDR" group:"network" help:"proxies whose X-Forwarded-For, -Proto and -Host are believed"`
	TLSCert        string   `key:"tls-cert" metavar:"FILE" group:"network" help:"PEM certificate chain; with tls-key, HTTPS is served in place of HTTP"`
	TLSKey         string   `key:"tls-key" metavar:"FILE" group:"network" help:"PEM private key of tls-cert"`
	ClientCA       string   `key:"client-ca" metavar:"FILE" group:"network" help:"PEM authorities of the client certificates that senders may show at /in (mTLS)"`
	MaxBody        Size     `key:"max-body" metavar:"SIZE" default:"10MiB" group:"network" help:"largest request body that any source takes, whatever its own limit says"`
	AllowPrivate   []string `key:"allow-private" metavar:"CIDR[:PORT]" group:"network" help:"private range that deliveries may go to; all of them are closed otherwise, loopback too"`

	RetentionSweep hook.Duration `key:"retention-sweep" metavar:"DURATION" default:"5m" group:"running" help:"how often data that is older than a project's retention is removed"`
	ShutdownGrace  hook.Duration `key:"shutdown-grace" metavar:"DURATION" default:"20s" group:"running" help:"how long requests and deliveries in flight may take to finish when the server stops"`
	LogLevel       string        `key:"log-level" metavar:"LEVEL" default:"info" group:"running" help:"least level that is logged: debug, info, warn or error"`
	LogFormat      string        `key:"log-format" metavar:"FORMAT" default:"text" group:"running" help:"form of log lines: text or json"`
	Metrics        bool          `key:"metrics" default:"true" group:"running" help:"serve Prometheus metrics at /metrics"`
	Profiling      string        `key:"profiling" metavar:"HOST:PORT" group:"running" help:"serve Go profiles (pprof) on this loopback address; default: not at all"`

	Server string      `key:"server" metavar:"URL" default:"http://127.0.0.1:8420" group:"client" help:"server that the commands talk to"`
	Token  hook.Secret `key:"token" metavar:"TOKEN" group:"client" help:"API token of the commands; default: the file admin-token in the data folder"`
}

// The groups of settings, in the order in which people see them.
const (
	GroupFiles   = "files"   // where data and files are
	GroupNetwork = "network" // what is reached, and from where
	GroupRunning = "running" // how the server runs
	GroupClient  = "client"  // of the commands that talk to a server
)
