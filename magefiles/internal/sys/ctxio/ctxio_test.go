package ctxio

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

func TestWriterEndsWithItsContext(t *testing.T) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	var out bytes.Buffer
	w := Writer(ctx, &out)
	if n, err := w.Write([]byte("before")); n != 6 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	cancel(why)
	if n, err := w.Write([]byte("after")); n != 0 || !errors.Is(err, why) {
		t.Errorf("got %d, %v, want the cause of the end", n, err)
	}
	if out.String() != "before" {
		t.Errorf("%q was written", out.String())
	}
}
