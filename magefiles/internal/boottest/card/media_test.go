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

func TestParseTable(t *testing.T) {
	const table = `{"partitiontable":{"label":"dos","id":"0x5A3c9d02","device":"x","unit":"sectors","sectorsize":512,"partitions":[
		{"node":"x1","start":16384,"size":1048576,"type":"c"},{"node":"x2","start":1064960,"size":4096,"type":"83"}]}}`
	const size = (1064960 + 4096) * 512
	got, err := parseTable([]byte(table), size)
	if err != nil {
		t.Fatal(err)
	}
	want := &Image{
		Size: size,
		Boot: Partition{Start: 16384 * 512, Size: 1048576 * 512, PARTUUID: "5a3c9d02-01"},
		Root: Partition{Start: 1064960 * 512, Size: 4096 * 512, PARTUUID: "5a3c9d02-02"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("image (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		name, old, new, want string
		size                 int64
	}{
		{"a GPT", `"dos"`, `"gpt"`, "expected an MBR", size},
		{"no FAT", `"c"`, `"83"`, "expected FAT", size},
		{"no Linux partition", `"83"`, `"82"`, "expected Linux", size},
		{"truncated", "", "", "truncated", size - 512},
		{"one partition", `,{"node":"x2","start":1064960,"size":4096,"type":"83"}`, "", "1 partitions", size},
	} {
		if _, err := parseTable([]byte(strings.Replace(table, tt.old, tt.new, 1)), tt.size); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

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
	if err := makeLoadable(path); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, image) {
		t.Errorf("the kernel has %d bytes (%v), want the %d that were packed", len(got), err, len(image))
	}
	copy(h[24:], "zstd")
	if err := os.WriteFile(path, append(h, packed...), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := makeLoadable(path); err == nil || !strings.Contains(err.Error(), "zstd") {
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
