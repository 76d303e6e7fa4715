package rehearsal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOnlyAddressesChange(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "packer", profile+".pkrvars.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	a := addresses{
		baseImage: "https://127.0.0.1:1/base.img.xz", baseSHA256: strings.Repeat("ab", 32),
		docker: "https://127.0.0.1:2/linux/debian", dockerFingerprint: strings.Repeat("AB", 20),
		publishTo: []string{"github:https://127.0.0.1:3/a/b", "gitlab:https://127.0.0.1:4/a/b"}, releases: "https://127.0.0.1:3/a/b/releases/download/v{version}",
	}
	changed, err := a.into(string(text))
	if err != nil {
		t.Fatal(err)
	}
	var added []string
	before := strings.Split(string(text), "\n")
	for line := range strings.Lines(changed) {
		line = strings.TrimSuffix(line, "\n")
		if i := indexOf(before, line); i >= 0 {
			before = append(before[:i], before[i+1:]...)
		} else {
			name, _, _ := strings.Cut(line, " ")
			added = append(added, name)
		}
	}
	const want = "base_image_url base_image_sha256 publish_to release_url_base docker_ce_url docker_ce_key_fingerprint"
	if got := strings.Join(added, " "); got != want {
		t.Errorf("other lines: %s; want %s", got, want)
	}
	if len(before) != 4 { // the four that were replaced
		t.Errorf("lines that are gone: %q", before)
	}
	if _, err := a.into("profile = \"pios\"\n"); err == nil {
		t.Error("a var-file without the addresses was changed")
	}
}

func indexOf(lines []string, line string) int {
	for i, l := range lines {
		if l == line {
			return i
		}
	}
	return -1
}
