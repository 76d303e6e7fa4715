package emulator

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/emulator/machine"
)

// evidence is what is fetched from a guest that failed, file name and command.
var evidence = []struct{ file, command string }{
	{"failed-units.txt", "systemctl --failed --no-pager --full; systemctl list-jobs --no-pager"},
	{"init-status.txt", "systemctl status --no-pager --full -n 100 cubeos-init.service cubeos-docker-preload.service docker.service hostapd.service"},
	{"docker.txt", "docker ps -a --no-trunc; docker service ls; for s in $(docker service ls -q); do docker service ps --no-trunc $s; done"},
	{"network.txt", "ip addr; ip route; ss -tulpn; iw dev; iptables-save"},
	{"disk.txt", "df -h; lsblk -f; free -m; dmesg --level=err,warn | tail -n 200"},
	{"cloud-init.txt", "cloud-init status --long; tail -n 200 /var/log/cloud-init.log"},
	{"journal.txt", "journalctl -b --no-pager -o short-monotonic"},
}

const (
	// collectBound is for all of it: a guest that does not answer has been waited
	// for long enough.
	collectBound = 4 * time.Minute
	commandBound = time.Minute
)

// collect saves the evidence in the work directory, as far as the guest can
// still be reached, and lets it write its disk.
func collect(ctx context.Context, m *machine.Machine, o Options) {
	ctx, cancel := m.Within(ctx, collectBound)
	defer cancel()
	reachable := func() error {
		ctx, cancel := context.WithTimeout(ctx, commandBound)
		defer cancel()
		_, err := m.Run(ctx, "sync")
		return err
	}
	if err := reachable(); err != nil {
		o.Reporter.Printf("the guest cannot be asked for its journal: %s", shorten(err.Error()))
		return
	}
	for _, e := range evidence {
		ctx, cancel := context.WithTimeout(ctx, commandBound)
		// What a list of commands prints counts, whatever its last one says.
		out, err := m.Run(ctx, "{ "+e.command+"; } 2>&1")
		cancel()
		if err != nil {
			out += fmt.Sprintf("\n%v\n", err)
		}
		if err := writeFile(filepath.Join(o.WorkDir, e.file), []byte(out+"\n")); err != nil {
			o.Reporter.Printf("%v", err)
		}
	}
	o.Reporter.Printf("the guest's journal and lists are in %s", o.WorkDir)
}

func evidenceFiles() []string {
	var files []string
	for _, e := range evidence {
		files = append(files, e.file)
	}
	return files
}
