package sqlite

import "malote.dev/malote/internal/hook"

// memory shows the inline deliveries to the log.
type memory struct{ inline *inlineSet }

// Inline implements sqlstore.Memory.
func (m memory) Inline(id hook.DeliveryID) (hook.Delivery, bool) {
	d, ok := m.inline.get(id)
	return d.delivery(id), ok
}

// EachInline implements sqlstore.Memory.
func (m memory) EachInline(project hook.ProjectID, do func(d *hook.Delivery, row bool)) {
	m.inline.list(func(id hook.DeliveryID, d *inlineDelivery) bool {
		if d.project == project {
			shown := d.delivery(id)
			do(&shown, d.row)
		}
		return false
	})
}
