package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// FinishOptions say what to finish and how.
type FinishOptions struct {
	Raw   string // the raw image, a sparse file
	Dir   string // where the finished files go
	Names Names  // what they are called
	Level int    // of xz, 0 to 9
	// Zeros are parts of the image that a block map must not leave out though
	// the raw file has holes there: parts that have to *be* zero on the card,
	// such as a FAT, where whatever the card held before would do harm.
	Zeros    []diskimage.Range
	Reporter *progress.Reporter
}

// File is a finished file.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Result is what Finish made.
type Result struct {
	Raw      File
	XZ       File
	BlockMap File
}

// Finish reads the raw image once. On the way it is hashed, mapped and
// compressed, and the compressed image is hashed. The holes of a sparse file
// are not read. No file gets its finished name before all are complete.
func Finish(ctx context.Context, o FinishOptions) (Result, error) {
	if err := o.check(); err != nil {
		return Result{}, err
	}
	raw, err := os.Open(o.Raw)
	if err != nil {
		return Result{}, fmt.Errorf("opening the raw image: %w", err)
	}
	defer raw.Close()
	before, err := raw.Stat()
	if err != nil {
		return Result{}, fmt.Errorf("looking at the raw image: %w", err)
	}
	size := before.Size()
	if !before.Mode().IsRegular() || size == 0 || size%512 != 0 {
		return Result{}, fmt.Errorf("raw image %s of %d bytes: want a file of whole sectors of 512 bytes", o.Raw, size)
	}
	data, err := dataRanges(raw, size)
	if err != nil {
		return Result{}, err
	}
	final := o.Names.In(o.Dir)
	work := partials{}
	defer work.remove()

	xzFile, err := work.create(final.XZ)
	if err != nil {
		return Result{}, err
	}
	defer xzFile.Close()
	out := &hashedWriter{w: xzFile, sum: sha256.New()}
	mapped, rawSum, err := o.compress(ctx, raw, size, blockRanges(append(data, o.Zeros...), size), out)
	if err != nil {
		return Result{}, diskFull(err, final.XZ, size)
	}
	if err := errors.Join(xzFile.Sync(), xzFile.Close()); err != nil {
		return Result{}, diskFull(err, final.XZ, size)
	}
	if after, err := raw.Stat(); err != nil || after.Size() != size || !after.ModTime().Equal(before.ModTime()) {
		return Result{}, fmt.Errorf("the raw image %s was changed while it was read", o.Raw)
	}
	blockMap := renderBlockMap(size, mapped)
	result := Result{
		Raw:      File{Name: o.Names.Image, Size: size, SHA256: rawSum},
		XZ:       File{Name: o.Names.XZ, Size: out.n, SHA256: hex.EncodeToString(out.sum.Sum(nil))},
		BlockMap: File{Name: o.Names.BlockMap, Size: int64(len(blockMap)), SHA256: sha256Hex(blockMap)},
	}
	if err := work.write(final.BlockMap, blockMap); err != nil {
		return Result{}, err
	}
	if err := work.write(final.Checksum, fmt.Appendf(nil, "%s  %s\n", result.XZ.SHA256, result.XZ.Name)); err != nil {
		return Result{}, err
	}
	if err := ctx.Err(); err != nil {
		return Result{}, context.Cause(ctx)
	}
	return result, work.finish(final.Checksum, final.BlockMap, final.XZ)
}

func (o FinishOptions) check() error {
	var problems []error
	if o.Level < 0 || o.Level > 9 {
		problems = append(problems, fmt.Errorf("compression level %d: want 0 to 9", o.Level))
	}
	if o.Names.Base == "" || o.Names != namesOf(filepath.Base(o.Names.Base)) {
		problems = append(problems, fmt.Errorf("names of the finished files: %+v: want those of NamesFor", o.Names))
	}
	if info, err := os.Stat(o.Dir); err != nil {
		problems = append(problems, fmt.Errorf("directory for the finished files: %w", err))
	} else if !info.IsDir() {
		problems = append(problems, fmt.Errorf("%s is not a directory", o.Dir))
	}
	return errors.Join(problems...)
}

// compress feeds the whole image to xz and its hash, and the mapped parts of it
// to theirs.
func (o FinishOptions) compress(ctx context.Context, raw io.ReaderAt, size int64, mapped []diskimage.Range, out *hashedWriter) ([]mappedRange, string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pipe, feed := io.Pipe()
	xz := make(chan error, 1)
	go func() {
		err := process.Cmd{Argv: xzArgv(o.Level), Stdin: pipe, Stdout: out}.Run(ctx)
		pipe.CloseWithError(errXZEnded)
		xz <- err
	}()
	task := o.Reporter.Task("compressing "+o.Names.Image, size)
	defer task.End()

	sum := sha256.New()
	w := io.MultiWriter(sum, task, feed)
	sums, err := copyImage(ctx, w, raw, size, mapped)
	if err != nil {
		cancel(err)
		feed.CloseWithError(err)
	} else {
		feed.Close()
	}
	xzErr := <-xz
	switch { // the cause before what it brought about
	case out.err != nil:
		return nil, "", out.err
	case err != nil && !errors.Is(err, errXZEnded):
		return nil, "", err
	case xzErr != nil:
		return nil, "", fmt.Errorf("compressing %s: %w", o.Names.Image, xzErr)
	}
	return sums, hex.EncodeToString(sum.Sum(nil)), err
}

var errXZEnded = errors.New("xz ended before it had read everything")

func xzArgv(level int) []string {
	return []string{"xz", "--compress", "--stdout", "--format=xz", "--check=crc64", "--threads=0", "-" + strconv.Itoa(level)}
}
