package device

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// TestContainerImages runs the provisioner that checks the archives, in a mount
// namespace where /var/lib/cubeos and /cubeos are the test's.
func TestContainerImages(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("not root: the script's paths can not be put elsewhere")
	}
	for name, tt := range map[string]struct {
		spoil func(d *fake)
		says  []string
	}{
		"whole": {func(*fake) {}, nil},
		"two problems": {
			func(d *fake) {
				d.remove("var/lib/cubeos/images/npm.tar")
				d.write("var/lib/cubeos/images/images.env", strings.Replace(d.read("var/lib/cubeos/images/images.env"), "CUBEOS_HAL_IMAGE=", "CUBEOS_HALL_IMAGE=", 1))
			},
			[]string{"npm.tar is missing or empty", "no CUBEOS_HAL_IMAGE=REFERENCE:TAG"},
		},
		"damaged": {
			func(d *fake) { d.write("var/lib/cubeos/images/cubeos-api.tar", "garbage") },
			[]string{"cubeos-api.tar: FAILED", "an archive is not what"},
		},
		"no checksum": {
			func(d *fake) {
				d.write("var/lib/cubeos/images/SHA256SUMS", strings.ReplaceAll(d.read("var/lib/cubeos/images/SHA256SUMS"), "cubeos-api.tar", "other"))
			},
			[]string{"has no line for cubeos-api.tar"},
		},
		"untagged": {
			func(d *fake) {
				d.write("var/lib/cubeos/images/images.env", strings.Replace(d.read("var/lib/cubeos/images/images.env"), reference("npm"), "registry.example/npm", 1))
			},
			[]string{"no NPM_IMAGE=REFERENCE:TAG"},
		},
		"without gravity": {
			func(d *fake) { d.piholeImage("") },
			[]string{"pihole.tar has no /etc/.pihole/advanced/Templates/gravity.db.sql: without it Pi-hole does not start offline"},
		},
		"gravity without a version": {
			func(d *fake) { d.piholeImage(strings.ReplaceAll(gravityTemplate, "'version'", "'other'")) },
			[]string{"makes a database without a version"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newFake(t)
			d.remove("cubeos/config/images.env")
			d.remove(gravity)
			d.piholeImage(gravityTemplate)
			tt.spoil(d)
			out, err := d.preload()
			if tt.says == nil {
				if err != nil || d.read("cubeos/config/images.env") != d.read("var/lib/cubeos/images/images.env") {
					t.Errorf("%v\n%s", err, out)
				}
				return
			}
			if exit := new(exec.ExitError); !errors.As(err, &exit) {
				t.Errorf("got %v, want a failure", err)
			}
			for _, want := range tt.says {
				if !strings.Contains(out, want) {
					t.Errorf("it does not say %q:\n%s", want, out)
				}
			}
			if d.exists("cubeos/config/images.env") {
				t.Error("images.env was installed nevertheless")
			}
		})
	}
}

// preload runs the provisioner.
func (d *fake) preload() (string, error) {
	d.t.Helper()
	script, err := filepath.Abs(filepath.Join(repo, "packer/scripts/05-docker-preload.sh"))
	if err != nil {
		d.t.Fatal(err)
	}
	var out strings.Builder
	err = process.Cmd{
		Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH=1754697600"},
		Argv: []string{
			"unshare", "--mount", "--propagation", "private", "sh", "-euc",
			`mount -t tmpfs none /mnt && mkdir -p /mnt/up /mnt/work /mnt/root
mount -t overlay -o "lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work" none /mnt/root
mkdir -p /mnt/root/cubeos /mnt/root/var/lib/cubeos /mnt/root/usr/local/share/cubeos
mount --bind "$1/usr/local/share/cubeos" /mnt/root/usr/local/share/cubeos
mount --bind "$1/cubeos" /mnt/root/cubeos && mount --bind "$1/var/lib/cubeos" /mnt/root/var/lib/cubeos
mount --bind "$(dirname "$2")" /mnt/root/mnt
exec chroot /mnt/root "/mnt/$(basename "$2")"`, "sh", d.root, script,
		},
		Stdout: &out, Stderr: &out,
	}.Run(d.t.Context())
	return out.String(), err
}

const gravity = "usr/local/share/cubeos/pihole/gravity.db"

// gravityTemplate has of the real one what decides what is made of it: a version,
// and times that are those of the making.
const gravityTemplate = `BEGIN TRANSACTION;
CREATE TABLE info (property TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO info VALUES('version','20');
CREATE TABLE adlist (id INTEGER PRIMARY KEY AUTOINCREMENT, address TEXT NOT NULL, enabled BOOLEAN NOT NULL DEFAULT 1,
  date_added INTEGER NOT NULL DEFAULT (cast(strftime('%s', 'now') as int)), comment TEXT);
CREATE TABLE adlist_by_group (adlist_id INTEGER, group_id INTEGER);
CREATE TRIGGER tr_adlist_add AFTER INSERT ON adlist BEGIN INSERT INTO adlist_by_group VALUES (NEW.id, 0); END;
COMMIT;
`

// piholeImage makes Pi-hole's archive one of two layers, of which the later one has
// another template.
func (d *fake) piholeImage(template string) {
	d.t.Helper()
	const path = "etc/.pihole/advanced/Templates/gravity.db.sql"
	early := map[string]string{"etc/passwd": "root"}
	late := map[string]string{"./etc/hosts": ""}
	if template != "" {
		early[path], late["./"+path] = "not this one", template
	}
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	_, err := w.Write(archive(d.t, late))
	if err = errors.Join(err, w.Close()); err != nil {
		d.t.Fatal(err)
	}
	image := archive(d.t, map[string]string{
		"manifest.json":      `[{"Config": "config.json", "Layers": ["early.tar", "blobs/sha256/late"]}]`,
		"early.tar":          string(archive(d.t, early)),
		"blobs/sha256/late":  compressed.String(),
		"config.json":        "{}",
		"unrelated/file.sql": "SELECT",
	})
	d.write("var/lib/cubeos/images/pihole.tar", string(image))
	sums := strings.Split(strings.TrimSpace(d.read("var/lib/cubeos/images/SHA256SUMS")), "\n")
	for i, line := range sums {
		if strings.HasSuffix(line, "  pihole.tar") {
			sums[i] = fmt.Sprintf("%x  pihole.tar", sha256.Sum256(image))
		}
	}
	d.write("var/lib/cubeos/images/SHA256SUMS", strings.Join(sums, "\n")+"\n")
}

func archive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
		if _, writeErr := w.Write([]byte(content)); errors.Join(err, writeErr) != nil {
			t.Fatal(err, writeErr)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestGravity wants a database that Pi-hole takes for one of its own, and always the
// same bytes.
func TestGravity(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("not root: the script's paths can not be put elsewhere")
	}
	d := newFake(t)
	var made []string
	for range 2 {
		d.piholeImage(gravityTemplate)
		if out, err := d.preload(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		made = append(made, d.read(gravity))
	}
	if made[0] != made[1] {
		t.Error("two builds make two databases")
	}
	got, err := process.Output(t.Context(), "python3", "-c", `import sqlite3, sys
print(*sqlite3.connect(sys.argv[1]).execute("SELECT value, address, date_added, group_id FROM info, adlist, adlist_by_group WHERE property = 'version'"), sep="\n")`,
		filepath.Join(d.root, gravity))
	const want = "('20', 'https://raw.githubusercontent.com/StevenBlack/hosts/master/hosts', 1754697600, 0)"
	if err != nil || strings.TrimSpace(got) != want {
		t.Errorf("%v: it has %s, want %s", err, got, want)
	}
}

func TestPiholeFiles(t *testing.T) {
	t.Parallel()
	const dir = "cubeos/coreapps/pihole/appdata/etc-pihole/"
	restarts := []string{"compose restart pihole"}
	d := newFake(t)
	shipped := d.read("usr/local/share/cubeos/pihole/pihole.toml")
	d.mustBoot()
	if d.read(dir+"pihole.toml") != shipped || d.read(dir+"gravity.db") != d.read(gravity) {
		t.Error("the first boot has not given Pi-hole its files")
	}
	d.effects()

	d.write(dir+"pihole.toml", "[dns]\n")
	d.write(dir+"gravity.db", "")
	out, err := d.boot()
	if err != nil || !strings.Contains(out, "Pi-hole has a new gravity.db") || strings.Contains(out, "pihole.toml") {
		t.Errorf("a lost database: %v\n%s", err, out)
	}
	if diff := cmp.Diff(restarts, d.effects()); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
	if d.read(dir+"pihole.toml") != "[dns]\n" || d.read(dir+"gravity.db") != d.read(gravity) {
		t.Error("the settings were changed, or the database is not there")
	}

	d.remove(dir)
	d.remove(gravity)
	out, err = d.boot()
	if err == nil || !strings.Contains(out, "ERROR: Pi-hole does not have all its files") {
		t.Errorf("an image without the database: %v\n%s", err, out)
	}
	if d.read(dir+"pihole.toml") != shipped || d.exists(dir+"gravity.db") {
		t.Error("the settings are not there, or half a database is")
	}
}
