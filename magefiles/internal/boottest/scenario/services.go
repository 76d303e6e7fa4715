package scenario

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/card"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

// inDocker are the scenarios of what runs in Docker: its images, its Swarm and the
// way to it by name.
func inDocker(l services.List) []boottest.Scenario {
	dns, hal, dashboard := service(l, pihole), service(l, hal), service(l, dashboard)
	var others []boottest.Check // the containers of services that come up without those two
	for _, s := range l.Of(services.Compose) {
		if s.Name != hal.Name {
			others = append(others, runs(s))
		}
	}
	return []boottest.Scenario{
		{
			Name: "wizard", About: "the dashboard is what a browser finds at cubeos.cube and 10.42.24.1, the other services at their names",
			Core: true, Harmless: true, From: boottest.Running,
			Phases: []boottest.Phase{{Name: "names", Checks: named(l)}},
		},
		{
			Name: "normal-boot-repairs", About: "what was lost of the services since the last boot is made again, and nothing else",
			Core: true, From: boottest.Running,
			Phases: []boottest.Phase{
				{Name: "loss", Checks: []boottest.Check{
					says("Swarm's certificate", "it is valid for more than five years, whoever switches the device off until then",
						"openssl x509 -in /var/lib/docker/swarm/certificates/swarm-node.crt -noout -checkend 157680000 >/dev/null && echo valid", "valid"),
					does("containers lost", "docker rm --force "+hal.ContainerName()+" && docker stop "+dns.ContainerName()),
					does("stack lost", "docker stack rm "+dashboard.Name),
					does("name lost", forgetName(service(l, proxy), cubeDomain)),
				}},
				{Name: "repair", Checks: slices.Concat(
					[]boottest.Check{
						does("the next boot's work", "systemctl restart cubeos-init.service"),
						initFinished("normal", bootBound),
						matches(hal.Name, "the journal says that it was missing", initLog, hal.Name+" is not running: starting it"),
						matches(dns.Name, "the journal says that it was stopped", initLog, dns.Name+" is not running: starting it"),
						matches(dashboard.Name, "the journal says that its stack was lost", initLog, "stack "+dashboard.Name+" is lost: deploying it again"),
						matches("name", "the journal says that it leads to its service again", initLog, fmt.Sprintf("http://%s leads to port %d", cubeDomain, dashboard.HTTP.Port)),
						says("the rest", "what was not lost was left alone", initLog+" | grep -Ec '"+repairs(l, hal.Name, dns.Name, dashboard.Name)+"' || true", "0"),
					},
					healthy(l), named(l),
				)},
			},
		},
		{
			Name: "archives-damaged-and-missing", About: "a damaged and a missing archive are named, the other services run, and the next boot tries again",
			From:   boottest.Flashed,
			Device: boottest.Device{Customise: atBoot(spoilArchives(hal, dashboard))},
			Phases: []boottest.Phase{
				{Name: "first boot", Checks: slices.Concat([]boottest.Check{
					sshAnswers(), initFailed(),
					consoleShows("damaged archive", isDamaged(hal)),
					consoleShows("missing image", `ERROR: `+dashboard.Name+`: its image .* is not on this device`),
					matches("journal", "it names the archive, too", "journalctl --no-pager -u cubeos-docker-preload", isDamaged(hal)),
					says("archives", "the damaged one is kept, the loaded ones are gone", "ls /var/lib/cubeos/images | grep tar$", hal.Name+".tar"),
				}, others, []boottest.Check{accessPoint(), resolves(dns.Title, "udp")})},
				{Name: "repaired", Checks: slices.Concat(
					[]boottest.Check{does("archives put back", "mv /var/lib/cubeos/kept/*.tar /var/lib/cubeos/images/"), reboots(), sshAnswers(), initFinished("first", firstBound)},
					healthy(l), named(l), []boottest.Check{archivesGone()},
				)},
			},
		},
		{
			Name: "preload-disk-full", About: "an image that finds no room is named with what to do, the others run; with room again, the next boot loads it",
			From: boottest.Flashed,
			// 150 MB are enough for the services' images, not for another one of 360 MB.
			Device: boottest.Device{Customise: atBoot(largeArchive + "\nfallocate -l $(($(stat -f -c '%f * %S' /) - 150000000)) /var/lib/filler")},
			Phases: []boottest.Phase{
				{Name: "first boot", Checks: slices.Concat(
					[]boottest.Check{
						sshAnswers(), initFinished("first", firstBound),
						settles(consoleShows("message", `ERROR: large: the card is full: .* use a larger card, or delete`)),
						matches("journal", "it says so, too", "journalctl --no-pager -u cubeos-docker-preload", "large: the card is full"),
						says("failed unit", "it is the one that loads images", "systemctl --failed --plain --no-legend | cut -d ' ' -f 1", "cubeos-docker-preload.service"),
						says("archives", "what was not loaded is kept", "ls /var/lib/cubeos/images | grep tar$", "large.tar"),
					},
					without(healthy(l), systemRunning().Name, noFailedUnit().Name), named(l),
				)},
				{Name: "room again", Checks: slices.Concat(
					[]boottest.Check{does("space freed", "rm /var/lib/filler"), reboots(), sshAnswers(), initFinished("normal", firstBound), largeImage()},
					healthy(l), named(l), []boottest.Check{archivesGone()},
				)},
			},
		},
		{
			Name: "little-memory", About: "an archive of 350 MB loads on a device with 1 GiB of memory",
			From:   boottest.Flashed,
			Device: boottest.Device{MemoryMiB: 1024, Customise: atBoot(largeArchive)},
			Phases: []boottest.Phase{{Name: "first boot", Checks: slices.Concat(
				[]boottest.Check{
					sshAnswers(), initFinished("first", firstBound),
					largeImage(),
					says("memory", "the kernel had to end no process", "journalctl --no-pager -k | grep -Eic 'out of memory|oom-kill' || true", "0"),
				},
				healthy(l), []boottest.Check{archivesGone()},
			)}},
		},
		{
			Name: "containerd-store", About: "on a card of 4 GB, a Docker that stores its images with containerd loads and runs them, too",
			From:   boottest.Flashed,
			Device: boottest.Device{CardSize: 4e9, Customise: atBoot(containerdStore)},
			Phases: []boottest.Phase{{Name: "first boot", Checks: slices.Concat(
				[]boottest.Check{
					sshAnswers(), initFinished("first", firstBound),
					matches("store", "it is containerd's", "docker info --format '{{.Driver}} {{.DriverStatus}}'", `^overlayfs .*io\.containerd\.snapshotter\.v1`),
				},
				healthy(l), named(l), []boottest.Check{archivesGone()},
			)}},
		},
		{
			Name: "docker-fails-once", About: "a Docker that does not start at the first attempt costs nothing",
			From: boottest.Flashed,
			Device: boottest.Device{Customise: atBoot(beforeUnit("docker.service",
				`test -e /run/docker-has-failed || { touch /run/docker-has-failed && exit 1; }`))},
			Phases: []boottest.Phase{{Name: "first boot", Checks: slices.Concat(
				[]boottest.Check{
					sshAnswers(), initFinished("first", firstBound),
					matches("fault", "Docker has failed to start, once", "systemctl show --property=NRestarts docker.service && journalctl --no-pager -u docker.service", `NRestarts=1\n(.*\n)*.*exit-code`),
				},
				healthy(l), []boottest.Check{archivesGone()},
			)}},
		},
		{
			Name: "swarm-corrupted", About: "a Swarm whose state is damaged is made again, with its secrets and stacks; the data stays",
			From: boottest.Running,
			Phases: slices.Concat(
				[]boottest.Phase{{Name: "before", Checks: []boottest.Check{does("data", "echo precious >/cubeos/data/precious")}}},
				damagedSwarm(l, "damaged log", "find raft -name '*.wal' -exec dd if=/dev/urandom of={} bs=4k count=64 conv=notrunc \\;"),
				damagedSwarm(l, "state that can not be read", "echo '{' >docker-state.json"),
				damagedSwarm(l, "lost certificates", "rm -r certificates"),
			),
		},
	}
}

// damagedSwarm has the next boot find a damaged Swarm.
func damagedSwarm(l services.List, name, damage string) []boottest.Phase {
	return []boottest.Phase{{Name: name, Checks: slices.Concat(
		[]boottest.Check{
			does("damage", "systemctl stop docker.socket docker.service && cd /var/lib/docker/swarm && "+damage+" && sync"),
			reboots(), sshAnswers(), initFinished("normal", firstBound),
			matches("message", "the journal says what happened", initLog, "WARNING: .*Swarm.*(damaged|lost)"),
			says("data", "it is still there", "cat /cubeos/data/precious", "precious"),
			says("tasks", "no container of the old Swarm is left", "docker ps --all --quiet --filter label=com.docker.swarm.task.id | wc -l", strconv.Itoa(len(l.Of(services.Stack)))),
		},
		healthy(l),
	)}}
}

const (
	// initLog is what the last run of the boot scripts has said.
	initLog = `journalctl --no-pager _SYSTEMD_INVOCATION_ID="$(systemctl show --property=InvocationID --value cubeos-init.service)"`

	// containerdStore has Docker keep its images as version 29 does by itself.
	containerdStore = `set -eu
cd /etc/docker
jq 'del(."storage-driver") | .features["containerd-snapshotter"] = true' daemon.json >daemon.json.new
mv daemon.json.new daemon.json`

	// largeArchive makes an archive of one layer of random bytes, which nothing
	// can make smaller, as the download of a large image would be.
	largeArchive = `set -eu
/usr/local/lib/cubeos/cubeos-grow-root.sh
mkdir -p /var/tmp/large/root && cd /var/tmp/large
head -c 360000000 /dev/urandom >root/blob
tar -cf layer.tar -C root blob && rm -r root
diff=$(sha256sum layer.tar | cut -d ' ' -f 1)
printf '{"architecture":"arm64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' $diff >config.json
printf '[{"Config":"config.json","RepoTags":["lab.invalid/large:1"],"Layers":["layer.tar"]}]' >manifest.json
cd /var/lib/cubeos/images
tar -cf large.tar -C /var/tmp/large manifest.json config.json layer.tar && rm -r /var/tmp/large
sha256sum large.tar >>SHA256SUMS
echo LARGE_IMAGE=lab.invalid/large:1 >>images.env`
)

// atBoot has cloud-init run a command as root before Docker starts, at the first
// boot and every later one.
func atBoot(command string) func(card.Seed) []card.File {
	return func(user card.Seed) []card.File {
		files := user.CloudInit()
		at := slices.IndexFunc(files, func(f card.File) bool { return f.Name == "user-data" })
		indented := strings.ReplaceAll(command, "\n", "\n    ")
		files[at].Content = fmt.Appendf(files[at].Content, "bootcmd:\n- - cloud-init-per\n  - once\n  - fault\n  - sh\n  - -c\n  - |\n    %s\n", indented)
		return files
	}
}

// beforeUnit has a unit run a command before it starts.
func beforeUnit(unit, command string) string {
	dropIn := "/etc/systemd/system/" + unit + ".d"
	script := "/usr/local/sbin/before-" + strings.TrimSuffix(unit, ".service")
	return fmt.Sprintf(`cat >%[1]s <<'END'
#!/bin/sh
%[2]s
END
chmod 755 %[1]s
mkdir -p %[3]s
printf '[Service]\nExecStartPre=%[1]s\n' >%[3]s/fault.conf
systemctl daemon-reload`, script, command, dropIn)
}

// named asserts that each name leads to its service, asked at the access point's
// address.
func named(l services.List) []boottest.Check {
	var checks []boottest.Check
	for _, s := range l {
		for _, host := range s.Hosts(cubeDomain, cubeAddress) {
			checks = append(checks, boottest.Check{
				Name:    "http://" + host,
				Asserts: fmt.Sprintf("GET %s is answered as on port %d, which is %s's", s.HTTP.Health, s.HTTP.Port, s.Title),
				Bound:   settle,
				Ask:     inGuest(askTwice(host, s), judgeSame),
			})
		}
	}
	unknown := "unknown." + cubeDomain
	c := matches("http://"+unknown, "GET / is answered by the proxy itself", get(unknown, cubeAddress+"/"), "Congratulations")
	c.Bound = settle
	return append(checks, c)
}

// get is a command that asks for url, which has no scheme, as if it were of host.
func get(host, url string) string {
	return fmt.Sprintf("curl -sS --max-time 20 -H 'Host: %s' http://%s", host, url)
}

const otherAnswer = "==== the other answer"

// askTwice is a command that asks for a name, and the service that it stands for
// itself.
func askTwice(host string, s services.Service) string {
	const status = " -w '\\n%{http_code}\\n'"
	return get(host, cubeAddress+s.HTTP.Health) + status + " && echo '" + otherAnswer + "' && " +
		get(host, fmt.Sprintf("127.0.0.1:%d%s", s.HTTP.Port, s.HTTP.Health)) + status
}

var digits = regexp.MustCompile(`\d+`)

// judgeSame compares the two answers, but for numbers: services tell the time and
// the like.
func judgeSame(out string) (string, error) {
	byName, itself, ok := strings.Cut(out, "\n"+otherAnswer+"\n")
	if !ok {
		return "", fmt.Errorf("the guest got no two answers: %q", out)
	}
	byName, status := cutStatus(byName)
	itself, itsStatus := cutStatus(itself)
	if status != itsStatus {
		return "", fmt.Errorf("the name is answered with %s, the port with %s", status, itsStatus)
	}
	if code, err := strconv.Atoi(status); err != nil || code < 200 || code >= 400 {
		return "", fmt.Errorf("both are answered with %s", status)
	}
	if digits.ReplaceAllString(byName, "0") != digits.ReplaceAllString(itself, "0") {
		return "", fmt.Errorf("the name is answered with %q, the port with %q", byName, itself)
	}
	return fmt.Sprintf("%s, %d bytes, by both ways", status, len(byName)), nil
}

// cutStatus takes the last line off an answer.
func cutStatus(answer string) (body, status string) {
	answer = strings.TrimRight(answer, "\n")
	at := strings.LastIndex(answer, "\n")
	return strings.TrimRight(answer[:max(at, 0)], "\n"), answer[at+1:]
}

// repairs is an expression for what the boot scripts say when they repair
// something of a service, of all but those that were lost.
func repairs(l services.List, lost ...string) string {
	said := []string{"Swarm initialised"}
	for _, s := range l {
		if slices.Contains(lost, s.Name) {
			continue
		}
		if s.Kind == services.Stack {
			said = append(said, "stack "+s.Name+" is lost")
		} else {
			said = append(said, s.Name+" is not running")
		}
		for _, host := range s.Hosts(cubeDomain, cubeAddress) {
			said = append(said, "http://"+regexp.QuoteMeta(host)+" leads")
		}
	}
	return strings.Join(said, "|")
}

// forgetName is a command that deletes the proxy host of a name, as its owner can.
func forgetName(npm services.Service, name string) string {
	return strings.NewReplacer("PORT", strconv.Itoa(npm.HTTP.Port), "NAME", name).Replace(`set -eu
. /cubeos/config/secrets.env
url=http://127.0.0.1:PORT/api
json='Content-Type: application/json'
token=$(curl -fsS -H "$json" -d "{\"identity\": \"$CUBEOS_NPM_EMAIL\", \"secret\": \"$CUBEOS_NPM_PASSWORD\"}" $url/tokens | jq -r .token)
id=$(curl -fsS -H "Authorization: Bearer $token" $url/nginx/proxy-hosts | jq '.[] | select(.domain_names == ["NAME"]).id')
curl -fsS -X DELETE -H "Authorization: Bearer $token" $url/nginx/proxy-hosts/$id`)
}

// spoilArchives is a command that damages one archive and takes another away. Both
// are kept.
func spoilArchives(damaged, missing services.Service) string {
	return strings.NewReplacer("DAMAGED", damaged.Name, "MISSING", missing.Name).Replace(
		`cd /var/lib/cubeos/images && mkdir -p ../kept && cp DAMAGED.tar ../kept/ && mv MISSING.tar ../kept/ && printf damage | dd of=DAMAGED.tar bs=1 seek=1000000 conv=notrunc`)
}

// isDamaged is an expression for what is said of a service's archive.
func isDamaged(s services.Service) string {
	return `ERROR: ` + s.Name + `: .*` + s.Name + `\.tar is damaged`
}

func largeImage() boottest.Check {
	return matches("large image", "it is there in full", "docker image inspect --format '{{.Size}}' lab.invalid/large:1", "^3[67][0-9]{7}$")
}

func archivesGone() boottest.Check {
	return says("archives", "they have given back their space", "find /var/lib/cubeos/images -name '*.tar' | wc -l", "0")
}

// initFailed is the end of a boot that could not do all it had to.
func initFailed() boottest.Check {
	c := says("cubeos-init", "cubeos-init.service has ended and says that it failed", "systemctl show --property=ActiveState --value cubeos-init.service", "failed")
	c.Bound, c.Vital = firstBound, true
	return c
}
