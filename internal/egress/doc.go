// Package egress is the only way out: every connection that the program opens on
// somebody else's word (a destination, a token endpoint, a key set) is dialled here.
//
// A Guard decides which addresses may be reached. It judges the address that is
// really dialled, after name resolution, so a name that changes its address between
// a check and its use gains nothing. Client and Fetcher build on it: no redirects, no
// proxy, caps on headers and bodies, TLS 1.2 at least.
//
// It is not a firewall between tenants and knows nothing of deliveries.
package egress
