package process

import (
	"bytes"
	"io"
	"sync"
)

// tail is a writer that remembers only the last max bytes, cut at a line.
type tail struct {
	mu  sync.Mutex
	max int
	buf []byte
	cut bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
		t.cut = true
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.buf
	if t.cut {
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			b = b[i+1:]
		}
	}
	return string(bytes.TrimSpace(b))
}

// Tee returns a writer for Cmd's Stdout or Stderr that passes the output on to
// w and still keeps its end for the error.
func Tee(w io.Writer) io.Writer { return tee{w} }

type tee struct{ io.Writer }
