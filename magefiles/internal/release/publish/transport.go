package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// stallTimeout ends a request on which nothing moves any more. A server has that
// long to store a file that has arrived.
const stallTimeout = 5 * time.Minute

var errStalled = fmt.Errorf("nothing has moved for %s", stallTimeout)

// watched is a transport that ends stalled requests.
type watched struct{ http.RoundTripper }

func (w watched) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(stallTimeout, func() { cancel(errStalled) })
	stop := func() { timer.Stop(); cancel(nil) }
	moving := func(body io.ReadCloser, closed func()) io.ReadCloser {
		return &watchedBody{body, ctx, timer, closed}
	}
	out := req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		out.Body = moving(req.Body, func() {})
	}
	resp, err := w.RoundTripper.RoundTrip(out)
	if err != nil {
		err = stalled(ctx, err)
		stop()
		return nil, err
	}
	resp.Body = moving(resp.Body, stop)
	return resp, nil
}

// stalled returns why a request was ended, if that is what it failed of.
func stalled(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return errStalled
	}
	return err
}

type watchedBody struct {
	io.ReadCloser
	ctx    context.Context
	timer  *time.Timer
	closed func()
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.timer.Reset(stallTimeout)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = stalled(b.ctx, err)
	}
	return n, err
}

func (b *watchedBody) Close() error {
	defer b.closed()
	return b.ReadCloser.Close()
}

// upload is a file on its way to a server. It tells its length and can be read
// again from its start, so that no client keeps it in memory.
type upload struct {
	file *os.File
	size int64
	task *progress.Task
}

func (u upload) Read(p []byte) (int, error) {
	n, err := u.file.Read(p)
	u.task.Add(int64(n))
	return n, err
}

func (u upload) Seek(offset int64, whence int) (int64, error) { return u.file.Seek(offset, whence) }

// Len is the length of the whole file, which is sent from its start.
func (u upload) Len() int { return int(u.size) }

// get writes what anybody may download at url to w.
func (p *Plan) get(ctx context.Context, url string, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := p.stranger.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return &statusError{url, resp}
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return passing{fmt.Errorf("%s: %w", url, err)}
	}
	return nil
}
