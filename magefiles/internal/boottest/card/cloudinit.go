package card

import (
	"fmt"
	"strings"
)

// Seed is what Raspberry Pi Imager's settings dialog would have been told.
type Seed struct {
	InstanceID    string
	User          string
	AuthorizedKey string // a line of authorized_keys
	Cmdline       string // of the image, to which Imager appends
}

// CloudInit returns the cloud-init files that Raspberry Pi Imager would write to
// the boot partition. There is no network-config: Imager writes one only for a
// wireless network, and the image's own has to work.
func (s Seed) CloudInit() []File {
	return []File{
		{Name: "meta-data", Content: []byte(fmt.Sprintf("instance-id: %s\n", s.InstanceID))},
		{Name: "user-data", Content: []byte(fmt.Sprintf(`#cloud-config
users:
- name: %s
  shell: /bin/bash
  lock_passwd: true
  sudo: ALL=(ALL) NOPASSWD:ALL
  ssh_authorized_keys:
  - %s
ssh_pwauth: false
`, s.User, strings.TrimSpace(s.AuthorizedKey)))},
	}
}
