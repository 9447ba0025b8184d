package main

import "context"

func compareStored(ctx context.Context, set *settings) error { return ctx.Err() }
