// Command device is the first process of the container that stands for a device:
// the services run in its namespaces. It answers as a Docker daemon with nothing in
// it would, so that no service reaches the one that runs it.
//
// `device dial HOST:PORT` copies standard input to an address of that container, and
// what comes back to standard output.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		stop()
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "serve":
		return serve(ctx, args[1])
	case len(args) == 2 && args[0] == "dial":
		return dial(ctx, args[1])
	}
	return errors.New("usage: device serve SOCKET | dial HOST:PORT")
}

func dial(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, os.Stdin)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(os.Stdout, conn)
	return err
}

func serve(ctx context.Context, socket string) error {
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: http.HandlerFunc(emptyDocker), ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// emptyDocker answers as Docker's API does where there is nothing: lists are empty.
func emptyDocker(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("API-Version", "1.41")
	w.Header().Set("Content-Type", "application/json")
	switch path.Base(r.URL.Path) {
	case "_ping":
		fmt.Fprint(w, "OK")
	case "version", "info":
		fmt.Fprintln(w, `{"ApiVersion": "1.41", "MinAPIVersion": "1.24", "Version": "20.10", "Os": "linux", "Arch": "arm64"}`)
	default:
		fmt.Fprintln(w, "[]")
	}
}
