// Package ctxio lets copying end with a context.
package ctxio

import (
	"context"
	"io"
)

// Writer returns a writer that writes to w until ctx ends, and then fails with its
// cause: a copy into it ends, too.
func Writer(ctx context.Context, w io.Writer) io.Writer {
	return writer(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return w.Write(p)
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
