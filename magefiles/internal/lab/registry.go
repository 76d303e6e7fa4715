package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/source/containerimage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// Options says what the registry serves.
type Options struct {
	ModuleDir string                 // the checkout, which has the stand-ins' source
	Services  services.List          // whose stand-ins there are to be
	Images    []containerimage.Entry // theirs, as images.txt lists them
	Reporter  *progress.Reporter
}

// InputsDigest returns a digest of everything that decides what the registry
// serves. Its address says nothing of that: it changes with every start.
func InputsDigest(o Options) (string, error) {
	files, err := sources(o.ModuleDir)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", runtime.Version())
	for _, e := range o.Images {
		s, _ := o.Services.Named(e.Name)
		fmt.Fprintf(h, "%q %q %q\n", e.Name, e.Reference, exposed(s))
	}
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(o.ModuleDir, name))
		if err != nil {
			return "", fmt.Errorf("reading the stand-in services' source: %w", err)
		}
		fmt.Fprintf(h, "%q %x\n", name, sha256.Sum256(data))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// StartRegistry compiles the stand-in services and serves their images from a
// registry on the loopback interface, under the names that
// container.Options.Mirror looks for. It serves until stop is called or ctx
// ends; stop returns when nothing of it is left.
func StartRegistry(ctx context.Context, o Options) (mirror string, stop func() error, err error) {
	if err := CheckServices(o.Services); err != nil {
		return "", nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("starting the lab's registry: %w", err)
	}
	stop = Serve(ctx, l, registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	mirror = l.Addr().String()
	if err := fill(ctx, mirror, o); err != nil {
		return "", nil, errors.Join(err, stop())
	}
	return mirror, stop, nil
}

// Fill compiles the stand-in services and puts their images, as StartRegistry has
// them, into a registry that anybody may write to as long as this runs.
func Fill(ctx context.Context, handler http.Handler, o Options) (err error) {
	if err := CheckServices(o.Services); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("filling a registry: %w", err)
	}
	stop := Serve(ctx, l, handler)
	return errors.Join(fill(ctx, l.Addr().String(), o), stop())
}

// Serve serves handler until stop is called or ctx ends; stop returns when nothing of
// it is left.
func Serve(ctx context.Context, l net.Listener, handler http.Handler) (stop func() error) {
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	// What is under way when the build is cancelled is of no use to anyone.
	unwatch := context.AfterFunc(ctx, func() { _ = srv.Close() })
	return sync.OnceValue(func() error {
		unwatch()
		err := srv.Close()
		if serveErr := <-ended; !errors.Is(serveErr, http.ErrServerClosed) {
			err = errors.Join(err, serveErr)
		}
		if err != nil {
			return fmt.Errorf("stopping a server: %w", err)
		}
		return nil
	})
}

// fill builds the images and pushes them.
func fill(ctx context.Context, mirror string, o Options) (err error) {
	started := time.Now()
	task := o.Reporter.Task("compiling the stand-in services", 0)
	defer task.End()
	tmp, err := os.MkdirTemp("", "cubeos-lab-")
	if err != nil {
		return fmt.Errorf("compiling the stand-in services: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	binary := filepath.Join(tmp, "standin")
	if err := compile(ctx, o.ModuleDir, "arm64", binary); err != nil {
		return err
	}
	layer, err := binaryLayer(binary)
	if err != nil {
		return err
	}
	transport := remote.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	for _, e := range o.Images {
		s, ok := o.Services.Named(e.Name)
		if !ok {
			return fmt.Errorf("the image %s (%s) is of no service", e.Name, e.Reference)
		}
		index, err := image(s, layer)
		if err != nil {
			return err
		}
		tag, err := containerimage.MirrorPath(mirror, e.Reference)
		if err != nil {
			return err
		}
		if err := remote.WriteIndex(tag, index, remote.WithContext(ctx), remote.WithTransport(transport)); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("putting the stand-in of %s into the lab's registry: %w", e.Name, err)
		}
	}
	o.Reporter.Printf("made the images of %d stand-in services in %s", len(o.Images), time.Since(started).Round(100*time.Millisecond))
	return nil
}
