package services

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the table in the documentation")

// marked is the part of a document that the table is, between its markers.
var marked = regexp.MustCompile(`(?s)(<!-- services -->\n)(.*?)(<!-- /services -->\n)`)

// defaults are what defaults.env gives to every device.
func defaults(t *testing.T) (domain, address string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repo, "configs/rootfs/cubeos/config/defaults.env"))
	if err != nil {
		t.Fatal(err)
	}
	value := func(name string) string {
		m := regexp.MustCompile(`(?m)^` + name + `=(\S+)$`).FindSubmatch(data)
		if m == nil {
			t.Fatalf("defaults.env has no %s", name)
		}
		return string(m[1])
	}
	return value("CUBEOS_DOMAIN"), value("CUBEOS_ADDRESS")
}

// TestTheDocumentationHasTheTable wants the list in one document, as it is.
func TestTheDocumentationHasTheTable(t *testing.T) {
	documents, err := filepath.Glob(filepath.Join(repo, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	want := "\n" + read(t).Table(defaults(t)) + "\n"
	found := 0
	for _, document := range append(documents, filepath.Join(repo, "README.md")) {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		tables := marked.FindAllStringSubmatch(string(text), -1)
		found += len(tables)
		for _, table := range tables {
			if diff := cmp.Diff(want, table[2]); diff != "" && !*update {
				t.Errorf("%s is not what %s says; `go test -update` rewrites it (-want +got):\n%s", document, File, diff)
			}
		}
		if *update && len(tables) > 0 {
			text = marked.ReplaceAll(text, []byte("${1}"+strings.ReplaceAll(want, "$", "$$")+"${3}"))
			if err := os.WriteFile(document, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if found != 1 {
		t.Errorf("%d tables of services between <!-- services --> and <!-- /services --> in README.md and docs/*.md, want 1", found)
	}
}

func TestTable(t *testing.T) {
	l := List{
		{Name: "one", Title: "One", Kind: Compose, Ports: []Port{
			{Port: 53, Protocols: []string{"tcp", "udp"}, Reach: Network, About: "names"},
			{Port: 67, Protocols: []string{"udp"}, Reach: Network, About: "addresses"},
			{Port: 3000, Protocols: []string{"tcp"}, Reach: Blocked, About: "inside"},
		}},
		{
			Name: "two", Title: "Two", Kind: Stack, Optional: true, HTTP: HTTP{Names: []string{"{domain}", "{address}"}},
			Ports: []Port{{Port: 80, Protocols: []string{"tcp"}, Reach: Device, About: "page"}},
		},
	}
	const want = "| service | how it runs | ports, and who reaches them | names |\n|---|---|---|---|\n" +
		"| One, `one` | container `cubeos-one` | 53 (tcp, udp), every network: names<br>67 (udp), every network: addresses<br>3000, this device only: inside |  |\n" +
		"| Two, `two`, optional | Swarm service `two_two` | 80, this device only: page | `http://box.home`, `http://10.0.0.1` |\n"
	if diff := cmp.Diff(want, l.Table("box.home", "10.0.0.1")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
