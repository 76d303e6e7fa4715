package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
	"github.com/cubeos-app/releases/magefiles/internal/release/imagerlist"
)

// bring sends a file unless it is there and right. What else is there under its
// name, such as the half of an upload that was cut off, is removed before.
func (p *Plan) bring(ctx context.Context, j *job, f File) error {
	there, err := j.files(ctx)
	if err != nil {
		return err
	}
	same := named(there, f.Name)
	if len(same) == 1 && same[0].is(f.File) {
		p.o.Log.Printf("%s is at %s already", f.Name, j)
		return nil
	}
	for _, other := range same {
		p.o.Log.Printf("removing %s from %s", other, j)
		if err := j.remove(ctx, other); err != nil {
			return err
		}
	}
	if err := p.send(ctx, j, f); err != nil {
		return err
	}
	if there, err = j.files(ctx); err != nil {
		return err
	}
	if same = named(there, f.Name); len(same) != 1 || !same[0].is(f.File) {
		return passing{fmt.Errorf("%s has arrived as %v, not of %d bytes with the SHA-256 %s", f.Name, same, f.Size, f.SHA256)}
	}
	return nil
}

func (p *Plan) send(ctx context.Context, j *job, f File) error {
	file, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	task := p.o.Log.Task("uploading "+f.Name, f.Size)
	defer task.End()
	return j.send(ctx, f.Name, upload{file, f.Size, task})
}

// verifyPublic downloads a file as anybody would and compares it.
func (p *Plan) verifyPublic(ctx context.Context, j *job, f File) error {
	url := j.download(p.r.Version, f.Name)
	return p.try(ctx, "downloading "+url+" to compare it", func(ctx context.Context) error {
		task := p.o.Log.Task("comparing "+f.Name, f.Size)
		defer task.End()
		got, err := digest(func(w io.Writer) error { return p.get(ctx, url, io.MultiWriter(w, task)) })
		if isStatus(err, http.StatusNotFound) {
			return passing{err} // what has just become visible is not everywhere at once
		}
		if err != nil {
			return err
		}
		got.Name = f.Name
		if got != f.File {
			return passing{fmt.Errorf("it has %d bytes with the SHA-256 %s, not %d with %s", got.Size, got.SHA256, f.Size, f.SHA256)}
		}
		return nil
	})
}

// digest measures what write writes.
func digest(write func(io.Writer) error) (artifact.File, error) {
	sum := sha256.New()
	n := new(counter)
	if err := write(io.MultiWriter(sum, n)); err != nil {
		return artifact.File{}, err
	}
	return artifact.File{Size: int64(*n), SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// nextList returns the list that a channel has to have, and whether that is
// another than it has. A list that offers a newer version stays as it is.
func (p *Plan) nextList(ctx context.Context, j *job, c Channel) (next []byte, revision string, changed bool, err error) {
	var now []byte
	err = p.try(ctx, "reading "+c.File()+" of "+j.String(), func(ctx context.Context) (err error) {
		now, revision, err = j.list(ctx, c)
		return err
	})
	if err != nil {
		return nil, "", false, err
	}
	fail := func(err error) ([]byte, string, bool, error) {
		return nil, "", false, fmt.Errorf("%s of %s: %w", c.File(), j, err)
	}
	listed, err := imagerlist.Offered(now, p.r.Listing.Name)
	if err != nil {
		return fail(err)
	}
	if version, ok := artifact.VersionOf(listed, p.r.Name); ok && older(p.r.Version, version) {
		p.o.Log.Printf("%s of %s offers %s, which is newer, and stays as it is", c.File(), j, version)
		return now, revision, false, nil
	}
	if next, err = imagerlist.Merge(now, p.r.Manifest, p.r.Listing); err != nil {
		return fail(err)
	}
	return next, revision, !bytes.Equal(now, next), nil
}

// offer puts the release into the list of a channel.
func (p *Plan) offer(ctx context.Context, j *job, c Channel) error {
	return p.try(ctx, "offering "+p.r.tag()+" in "+j.listURL(c), func(ctx context.Context) error {
		next, revision, changed, err := p.nextList(ctx, j, c)
		if err != nil {
			return err
		}
		if changed {
			if err := j.writeList(ctx, c, next, revision); err != nil {
				return err
			}
			now, _, err := j.list(ctx, c)
			if err != nil {
				return err
			}
			if !bytes.Equal(now, next) {
				return passing{errors.New("the list that was written is not the one that is there")}
			}
		}
		p.o.Log.Printf("the channel %s is: rpi-imager --repo %s", c, j.listURL(c))
		return nil
	})
}
