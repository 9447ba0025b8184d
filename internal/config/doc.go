// Package config holds the settings of the program. Each is declared once, as a
// tagged field of Settings; the configuration file, the environment, the flags, the
// output of "malote config" and docs/configuration.md derive from that declaration.
package config
