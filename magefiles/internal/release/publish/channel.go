package publish

import (
	"strings"

	"golang.org/x/mod/semver"
)

// Channel is a list for Raspberry Pi Imager.
type Channel string

// Stable offers the newest release, Beta the newest release or pre-release.
const (
	Stable Channel = "stable"
	Beta   Channel = "beta"
)

// File is what the list of the channel is called.
func (c Channel) File() string {
	if c == Stable {
		return "rpi-imager.json"
	}
	return "rpi-imager-" + string(c) + ".json"
}

// channels are those that a version goes to.
func channels(version string) []Channel {
	if preRelease(version) {
		return []Channel{Beta}
	}
	return []Channel{Beta, Stable}
}

func preRelease(version string) bool { return semver.Prerelease("v"+version) != "" }

// development says whether a version is none of a tag, but of a commit.
func development(version string) bool { return strings.Contains(version, "+") }

// older says whether version a is before b.
func older(a, b string) bool { return semver.Compare("v"+a, "v"+b) < 0 }

// before returns the version that one is the next of: the newest that is older,
// of the releases alone if it is a release. It is "" if there is none.
func before(version string, published []string) string {
	found := ""
	for _, v := range published {
		if !semver.IsValid("v"+v) || !older(v, version) || preRelease(v) && !preRelease(version) {
			continue
		}
		if found == "" || older(found, v) {
			found = v
		}
	}
	return found
}
