package replay

// LimitPlan has plans look at so many events or deliveries, at the most.
func (e *Engine) LimitPlan(n int) { e.planLimit = n }
