package recipe

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
)

// The rules of the options are in the recipe alone: Packer checks them too, and
// no script does it again.
func TestOptions(t *testing.T) {
	for name, values := range map[string]struct{ bad, good []string }{
		"hostname": {
			bad:  []string{"", "Cube OS", "-cube", "cube-", "1cube", "cube.local", strings.Repeat("c", 64)},
			good: []string{"c", "cube-1", strings.Repeat("c", 63)},
		},
		"cubeos_user": {
			bad:  []string{"", "root", "Cube", "1cube", "cube os", "cube:x", strings.Repeat("c", 33)},
			good: []string{"_cube", "cube-1", strings.Repeat("c", 32)},
		},
		"locale": {
			bad:  []string{"", "de", "de_DE", "de_DE.ISO-8859-1", "C.UTF-8 x"},
			good: []string{"C.UTF-8", "de_DE.UTF-8", "fil_PH.UTF-8"},
		},
		"timezone": {
			bad:  []string{"", "../shadow", "/etc/shadow", "Europe/../../shadow", "Europe/", "Europe//Athens", "Europe/New York"},
			good: []string{"UTC", "EST5EDT", "Etc/GMT+1", "America/Argentina/Buenos_Aires", "America/Port-au-Prince"},
		},
		"unattended_upgrades": {
			bad:  []string{"", "maybe", "1"},
			good: []string{"true", "false"},
		},
		"wifi_country": {
			bad:  []string{"", "nl", "NLD", "N", "00", "N L"},
			good: []string{"NL"},
		},
		"docker_source": {
			bad:  []string{"", "podman", "Docker-CE"},
			good: []string{"docker-ce", "debian"},
		},
		"docker_ce_url": {
			bad:  []string{"", "http://example.org/debian", "https://example.org/", "https://example.org/a b", "https:"},
			good: []string{"https://example.org/linux/debian"},
		},
		"docker_ce_key_fingerprint": {
			bad: []string{
				"", "9DC8 5822 9FC7 DD38 854A E2D8 8D81 803C 0EBF CD88",
				"9dc858229fc7dd38854ae2d88d81803c0ebfcd88", "9DC858229FC7DD38854AE2D88D81803C0EBFCD8",
			},
			good: []string{"0123456789ABCDEF0123456789ABCDEF01234567"},
		},
		"image_name": {
			// The version begins with the first digit behind a hyphen.
			bad:  []string{"", "CubeOS", "cubeos-", "cubeos--lab", "cubeos-2", "a/b", ".."},
			good: []string{"cubeos2-full"},
		},
		"imager_devices": {
			bad:  []string{`[]`, `["pi4"]`, `["pi3-64bit"]`, `["pi5-64bit", "pi5-64bit"]`, `"pi5-64bit"`},
			good: []string{`["pi5-64bit"]`, `["pi4-64bit", "pi5-64bit"]`},
		},
		"imager_capabilities": {
			bad:  []string{`["usb_otg"]`, `["rpi_connect"]`, `["sudo"]`, `["i2c", "i2c"]`, `"i2c"`},
			good: []string{`[]`, `["serial", "passwordless_sudo"]`},
		},
		"base_image_like":    {bad: []string{"", "ubuntu"}, good: []string{"debian", "raspios"}},
		"imager_name":        {bad: []string{"", " "}, good: []string{"CubeOS"}},
		"imager_description": {bad: []string{"", " "}, good: []string{"A server."}},
		"version":            {bad: badVersions(), good: goodVersions()},
	} {
		for _, value := range values.bad {
			if err := loadWith(name, value); err == nil || !strings.Contains(err.Error(), "<value given for var."+name+"> line 1") {
				t.Errorf("%s = %q: got %v, want a refusal that says where it comes from", name, value, err)
			}
		}
		for _, value := range values.good {
			if err := loadWith(name, value); err != nil {
				t.Errorf("%s = %q: %v", name, value, err)
			}
		}
	}
}

// Imager's own schema says which formats there are. It has the empty one too,
// with which Imager leaves an image out of its list.
func TestInitFormatsAreTheSchemas(t *testing.T) {
	content, err := os.ReadFile("../release/imagerlist/os-list-schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties struct {
			List struct {
				Items struct {
					AnyOf []struct {
						Properties struct {
							InitFormat struct{ Enum []string } `json:"init_format"`
						}
					}
				}
			} `json:"os_list"`
		}
	}
	if err := json.Unmarshal(content, &schema); err != nil {
		t.Fatal(err)
	}
	formats := schema.Properties.List.Items.AnyOf[0].Properties.InitFormat.Enum
	if len(formats) < 5 {
		t.Fatalf("the schema knows %q", formats)
	}
	for _, format := range append(formats, "cloud-init") {
		err := loadWith("imager_init_format", format)
		if good := format != "" && format != "cloud-init"; (err == nil) != good {
			t.Errorf("%q: %v", format, err)
		}
	}
}

func badVersions() []string {
	return []string{
		"", "v1.2.3", "1.2", "1.2.3.4", "1.2.3/x", "1.2.3 x", "1.2.3-", "1.2.3+", "1.2.3-a..b", "01.2.3", "1.2.3\n", "main",
		"1.2.3-" + strings.Repeat("a", 70),
	}
}

func goodVersions() []string {
	return []string{"0.0.0", "1.2.3", "1.2.3-rc.1", "1.2.4-dev.7+gabc1234.dirty", "0.0.0-dev+g0123456789ab", "1.2.3-" + strings.Repeat("a", 58)}
}

// What a tag stands for is asked before there is a recipe.
func TestVersionsOfTagsAreTheRecipes(t *testing.T) {
	for _, version := range badVersions() {
		if artifact.CheckVersion(version) == nil {
			t.Errorf("a tag may stand for %q, which the recipe refuses", version)
		}
	}
	for _, version := range goodVersions() {
		if err := artifact.CheckVersion(version); err != nil {
			t.Errorf("the recipe takes %q: %v", version, err)
		}
	}
}

func loadWith(name, value string) error {
	vars := map[string]string{"version": "1.2.3"}
	vars[name] = value
	_, err := LoadProfile(repository, "lab", vars)
	return err
}

func TestAllBadOptionsAreNamedAtOnce(t *testing.T) {
	bad := map[string]string{
		"hostname": "Cube OS", "cubeos_user": "root", "locale": "de", "timezone": "../shadow", "unattended_upgrades": "maybe",
		"wifi_country": "nl", "docker_source": "podman",
	}
	_, err := LoadProfile(repository, "lab", bad)
	for name := range bad {
		if want := fmt.Sprintf("<value given for var.%s> line 1", name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
}
