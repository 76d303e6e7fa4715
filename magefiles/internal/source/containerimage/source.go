package containerimage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

const stallAfter = time.Minute

// source is what is needed of a registry: manifests and blobs, each tried again
// when the network fails.
type source struct {
	transport *http.Transport
	keychain  *keychain
	delay     time.Duration
	sleep     func(context.Context, time.Duration) error
	stall     time.Duration
	logf      func(format string, args ...any)
}

func newSource(delay time.Duration, logf func(string, ...any)) *source {
	t := remote.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = stallAfter
	return &source{transport: t, keychain: newKeychain(logf), delay: delay, sleep: sleep, stall: stallAfter, logf: logf}
}

func (r *source) close() { r.transport.CloseIdleConnections() }

// puller returns a new one: it remembers a failed handshake, so that a retry
// needs another.
func (r *source) puller() (*remote.Puller, error) {
	return remote.NewPuller(
		remote.WithTransport(listener{r.transport}),
		remote.WithAuthFromKeychain(r.keychain),
		remote.WithUserAgent("cubeos-releases"),
		// Its own retries sleep without a look at the context.
		remote.WithRetryBackoff(remote.Backoff{Steps: 1}),
	)
}

// manifest returns what a tag or digest names.
func (r *source) manifest(ctx context.Context, ref name.Reference) (document, error) {
	var doc document
	err := r.retry(ctx, func(ctx context.Context) error {
		p, err := r.puller()
		if err != nil {
			return err
		}
		answer, err := p.Get(ctx, ref)
		if err != nil {
			return err
		}
		doc, err = readDocument(answer)
		return err
	})
	return doc, err
}

// blob writes one blob to w, which has to start again for each attempt.
func (r *source) blob(ctx context.Context, repo name.Repository, h v1.Hash, add func(write func(io.Writer) error) error) error {
	return r.retry(ctx, func(ctx context.Context) error {
		return add(func(w io.Writer) error {
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			stalled := time.AfterFunc(r.stall, func() {
				cancel(fmt.Errorf("no data came for %s: %w", r.stall, errStalled))
			})
			defer stalled.Stop()

			p, err := r.puller()
			if err != nil {
				return err
			}
			layer, err := p.Layer(ctx, repo.Digest(h.String()))
			if err != nil {
				return err
			}
			rc, err := layer.Compressed()
			if err == nil {
				_, err = io.Copy(writerFunc(func(b []byte) (int, error) {
					stalled.Reset(r.stall)
					return w.Write(b)
				}), rc)
				err = errors.Join(err, rc.Close())
			}
			if err != nil && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		})
	})
}

var errStalled = errors.New("the transfer stalled")

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
