package card

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKernelHeader(t *testing.T) {
	plain, zboot := make([]byte, 64), make([]byte, 64)
	copy(plain, "MZ\x40\xfa")
	copy(plain[56:], "ARM\x64")
	copy(zboot, "MZ\x00\x00zimg")
	for _, tt := range []struct {
		name string
		h    []byte
		want kernelFormat
	}{
		{"Image with an EFI stub, as Debian's", plain, plainKernel},
		{"gzip, as Raspberry Pi OS's", append([]byte{0x1f, 0x8b, 8}, make([]byte, 61)...), gzipKernel},
		{"EFI zboot", zboot, zbootKernel},
		{"something else", make([]byte, 64), unknownKernel},
		{"too short", []byte("MZ"), unknownKernel},
	} {
		if got := kernelHeader(tt.h); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestMakeLoadableUnpacksZboot(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kernel")
	image := bytes.Repeat([]byte("kernel"), 1000)
	packed := gzipped(t, image)
	h := make([]byte, 128)
	copy(h, "MZ\x00\x00zimg")
	binary.LittleEndian.PutUint32(h[8:], uint32(len(h)))
	binary.LittleEndian.PutUint32(h[12:], uint32(len(packed)))
	copy(h[24:], "gzip")
	if err := os.WriteFile(path, append(append(h, packed...), "trailing section"...), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := MakeLoadable(path); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, image) {
		t.Errorf("the kernel has %d bytes (%v), want the %d that were packed", len(got), err, len(image))
	}
	copy(h[24:], "zstd")
	if err := os.WriteFile(path, append(h, packed...), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := MakeLoadable(path); err == nil || !strings.Contains(err.Error(), "zstd") {
		t.Errorf("got %v, want the compression that is not understood", err)
	}
}

func TestSparseWriterKeepsContentAndHoles(t *testing.T) {
	data := make([]byte, 5*holeBlock+123)
	copy(data[holeBlock+5:], "data in the middle")
	data[len(data)-1] = 1
	want := sha256.Sum256(data)
	for _, size := range []int{7, holeBlock - 1, holeBlock, 2*holeBlock + 1} {
		f, err := os.Create(filepath.Join(t.TempDir(), "x"))
		if err != nil {
			t.Fatal(err)
		}
		w := &sparseWriter{f: f}
		for at := 0; at < len(data); at += size {
			if _, err := w.Write(data[at:min(at+size, len(data))]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.finish(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(f.Name())
		if err != nil || sha256.Sum256(got) != want {
			t.Errorf("writes of %d bytes: the file differs (%v)", size, err)
		}
		if blocks := allocated(t, f.Name()); blocks > 2*holeBlock {
			t.Errorf("writes of %d bytes: %d bytes are allocated, want holes", size, blocks)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCloudInit(t *testing.T) {
	got := Seed{InstanceID: "boot-1", User: "cubeos", AuthorizedKey: "ssh-ed25519 AAAA\n"}.CloudInit()
	want := []File{
		{Name: "meta-data", Content: []byte("instance-id: boot-1\n")},
		{Name: "user-data", Content: []byte(`#cloud-config
users:
- name: cubeos
  shell: /bin/bash
  lock_passwd: true
  sudo: ALL=(ALL) NOPASSWD:ALL
  ssh_authorized_keys:
  - ssh-ed25519 AAAA
ssh_pwauth: false
`)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}
