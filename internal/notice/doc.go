// Package notice makes events of what happens in the system itself: a circuit that
// opens, deliveries that are given up, a backlog that grows. They come from the source
// that every project has from its beginning, hook.SystemSource, so that a person connects
// them to any destination like any other event.
//
// An Announcer takes notices from whoever has something to tell, without making it
// wait, and publishes them at a bounded pace. A Watcher looks at roll-ups and backlogs
// once a minute, and gives notice of what only shows there.
//
// The events cannot feed themselves. What is about a destination is never delivered
// there; nobody gives notice of a failed delivery of a notice; and of one type about
// one thing there are only so many in a minute: those beyond become one event, with
// their count.
package notice
