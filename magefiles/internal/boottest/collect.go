package boottest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/machine"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// journal is what is fetched at the end of every phase.
const journal = "journalctl -b --no-pager -o short-monotonic"

// evidence is what is fetched from a guest that failed, file name and command.
var evidence = []struct{ file, command string }{
	{"failed-units.txt", "systemctl --failed --no-pager --full; systemctl list-jobs --no-pager"},
	{"init-status.txt", "systemctl status --no-pager --full -n 100 cubeos-init.service cubeos-docker-preload.service docker.service hostapd.service"},
	{"docker.txt", "docker ps -a --no-trunc; docker service ls; for s in $(docker service ls -q); do docker service ps --no-trunc $s; done"},
	{"network.txt", "ip addr; ip route; ss -tulpn; iw dev; iptables-save"},
	{"disk.txt", "df -h; lsblk -f; free -m; dmesg --level=err,warn | tail -n 200"},
	{"cloud-init.txt", "cloud-init status --long; tail -n 200 /var/log/cloud-init.log"},
}

const (
	// collectBound is for all of it: a guest that does not answer has been waited
	// for long enough.
	collectBound = 4 * time.Minute
	commandBound = time.Minute
)

// collect saves the journal in the evidence directory, and of a guest that failed
// all the rest, as far as it can still be reached.
func collect(ctx context.Context, s *Subject, phase string, passed bool, log *progress.Reporter) {
	ctx, cancel := machine.Within(ctx, s.Alive, collectBound)
	defer cancel()
	fetch := func(command string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, commandBound)
		defer cancel()
		// What a list of commands prints counts, whatever its last one says.
		return s.Run(ctx, "{ "+command+"; } 2>&1")
	}
	lines, err := fetch(journal)
	if err != nil {
		log.Printf("the device cannot be asked for its journal: %s", shorten(err.Error()))
		return
	}
	if err := appendTo(filepath.Join(s.Dir, "journal.txt"), fmt.Sprintf("==== %s\n%s\n", phase, lines)); err != nil {
		log.Printf("keeping the journal: %v", err)
	}
	if passed {
		return
	}
	for _, e := range evidence {
		out, err := fetch(e.command)
		if err != nil {
			out += fmt.Sprintf("\n%v\n", err)
		}
		if err := renameio.WriteFile(filepath.Join(s.Dir, e.file), []byte(out+"\n"), 0o644); err != nil {
			log.Printf("%v", err)
		}
	}
	log.Printf("the device's journal and lists are in %s", s.Dir)
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
