package card

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// holeBlock is the unit in which runs of zeros become holes.
const holeBlock = 64 << 10

var zeros = make([]byte, holeBlock)

// sparseWriter writes to a new file and leaves a hole where the data is zero.
// Writes may be of any size. Close gives the file its length.
type sparseWriter struct {
	f   *os.File
	off int64
	max int64 // more than this is refused; 0: no limit
}

var errTooLong = errors.New("more data than expected")

func (w *sparseWriter) Write(p []byte) (int, error) {
	if w.max > 0 && w.off+int64(len(p)) > w.max {
		return 0, errTooLong
	}
	for done := 0; done < len(p); {
		n := min(len(p)-done, holeBlock-int(w.off%holeBlock))
		part := p[done : done+n]
		if !bytes.Equal(part, zeros[:n]) {
			if _, err := w.f.WriteAt(part, w.off); err != nil {
				return done, err
			}
		}
		done += n
		w.off += int64(n)
	}
	return len(p), nil
}

func (w *sparseWriter) finish() error { return w.f.Truncate(w.off) }

// copySparse copies n bytes at offset of src into a new file.
func copySparse(dst string, src io.ReaderAt, offset, n int64) (err error) {
	f, err := os.Create(dst)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := &sparseWriter{f: f, max: n}
	if _, err := io.CopyBuffer(onlyWriter{w}, io.NewSectionReader(src, offset, n), make([]byte, 1<<20)); err != nil {
		return err
	}
	return w.finish()
}

type onlyWriter struct{ io.Writer }
