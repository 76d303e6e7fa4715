package scenario

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
)

// access is about who can log in.
func access() []boottest.Scenario {
	return []boottest.Scenario{
		{
			Name: "ssh", About: "real attempts: a key opens the administrator's account, nothing opens root's, and passwords are not even offered",
			Core: true, Harmless: true, From: boottest.Running,
			// Failed logins of this host make sshd turn it away: there must be few of
			// them.
			Phases: []boottest.Phase{{Name: "attempts", Checks: []boottest.Check{
				failuresOfOurs(), keyOpens(), passwordsNotOffered(),
			}}},
		},
		{
			Name: "fail2ban", About: "an address from which logins keep failing is banned, Docker's rules stay as they are, and others still log in",
			From: boottest.Running,
			Phases: []boottest.Phase{
				{Name: "attack", Checks: []boottest.Check{
					does("an attacker", attacker),
					says("fail2ban answers", "it is up and has banned nobody", "fail2ban-client ping; fail2ban-client get sshd banip", "Server replied: pong"),
					says("port open", "the attacker reaches SSH", reaches, "open"),
					does("Docker's rules noted", rules+" >/var/tmp/rules"),
					does("logins fail", fails),
					says("banned", "the kernel has the address in fail2ban's own table", "nft list set inet f2b-table addr-set-sshd | grep -o 192.0.2.2", "192.0.2.2"),
					says("port closed", "the attacker no longer reaches SSH", reaches, "closed"),
					says("Docker's rules", "no rule of iptables is another", rules+" | cmp - /var/tmp/rules && echo same", "same"),
					logsIn(),
				}},
				{Name: "pardon", Checks: []boottest.Check{
					does("unban", "fail2ban-client set sshd unbanip 192.0.2.2"),
					says("port open again", "the attacker reaches SSH", reaches, "open"),
					noFailedUnit(),
				}},
			},
		},
	}
}

// The attacker has an address of a network for documentation, in a network
// namespace of its own.
const (
	attacker = `ip netns add attacker
ip link add attack type veth peer name eth0 netns attacker
ip addr add 192.0.2.1/24 dev attack
ip link set attack up
ip -n attacker addr add 192.0.2.2/24 dev eth0
ip -n attacker link set eth0 up`

	reaches = `ip netns exec attacker timeout 20 bash -c 'exec 3<>/dev/tcp/192.0.2.1/22' 2>/dev/null && echo open || echo closed`

	// sshd lets whoever fails wait, so it takes some time to fail often enough.
	fails = `for attempt in $(seq 60); do
  ip netns exec attacker ssh -o BatchMode=yes -o ConnectTimeout=20 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@192.0.2.1 true 2>/dev/null && exit 1
  case $(fail2ban-client get sshd banip) in *192.0.2.2*) echo "banned after $attempt attempts" && exit 0 ;; esac
  sleep 2
done
exit 1`

	// Without comments and counters.
	rules = `{ iptables-save; ip6tables-save; } | sed -E '/^#/d; s/ \[[0-9]+:[0-9]+\]//'`
)

// failuresOfOurs is a step: fail2ban does not count what fails of this host in the
// next minutes, so that it is not banned for the tests' sake.
func failuresOfOurs() boottest.Check {
	return does("our failures", `set -e
address=$(tr '\0' '\n' <"/proc/$PPID/environ" | sed -n 's/^SSH_CLIENT=\([^ ]*\) .*/\1/p')
fail2ban-client set sshd addignoreip "${address:?sshd does not tell where this connection is from}" >/dev/null
systemd-run --quiet --on-active=3min fail2ban-client set sshd delignoreip "$address"
echo "those of $address are not counted for three minutes"`)
}

// keyOpens tries one key at two accounts that both have it.
func keyOpens() boottest.Check {
	return boottest.Check{
		Name: "key", Asserts: "a key that both accounts accept opens the administrator's and not root's", Bound: quick, Once: true,
		Ask: func(ctx context.Context, s *boottest.Subject) (_ string, err error) {
			signer, undo, err := authorise(ctx, s, "root", s.Settings.User)
			if err != nil {
				return "", err
			}
			defer func() { err = errors.Join(err, undo()) }()
			if err := login(ctx, s, s.Settings.User, ssh.PublicKeys(signer)); err != nil {
				return "", fmt.Errorf("as %s: %w", s.Settings.User, err)
			}
			err = login(ctx, s, "root", ssh.PublicKeys(signer))
			if err == nil {
				return "", errors.New("root can log in")
			}
			if !strings.Contains(err.Error(), "publickey") {
				return "", fmt.Errorf("the key was not tried as root: %w", err)
			}
			return s.Settings.User + " logs in, root: " + err.Error(), nil
		},
	}
}

// passwordsNotOffered asks for it as accounts that have a password.
func passwordsNotOffered() boottest.Check {
	return boottest.Check{
		Name: "no passwords", Asserts: "to accounts with a password neither password nor keyboard-interactive is offered", Bound: quick, Once: true,
		Ask: func(ctx context.Context, s *boottest.Subject) (_ string, err error) {
			users := []string{s.Settings.User, "root"}
			password, undo, err := givePassword(ctx, s, users)
			if err != nil {
				return "", err
			}
			defer func() { err = errors.Join(err, undo()) }()
			var seen []string
			for _, user := range users {
				var offered []string
				err := login(ctx, s, user,
					ssh.PasswordCallback(func() (string, error) {
						offered = append(offered, "password")
						return password, nil
					}),
					ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
						offered = append(offered, "keyboard-interactive")
						return slices.Repeat([]string{password}, len(questions)), nil
					}))
				if err == nil {
					return "", fmt.Errorf("%s got in; offered was %v", user, offered)
				}
				if len(offered) > 0 {
					return "", fmt.Errorf("%s was offered %v: %w", user, offered, err)
				}
				// A connection that broke off has offered nothing either.
				if !strings.Contains(err.Error(), "attempted methods [none]") {
					return "", fmt.Errorf("as %s: %w", user, err)
				}
				seen = append(seen, user+": none")
			}
			return strings.Join(seen, ", "), nil
		},
	}
}

// logsIn makes a new connection.
func logsIn() boottest.Check {
	return boottest.Check{
		Name: "others log in", Asserts: "a new connection from another address is let in", Bound: quick,
		Ask: func(ctx context.Context, s *boottest.Subject) (_ string, err error) {
			signer, undo, err := authorise(ctx, s, s.Settings.User)
			if err != nil {
				return "", err
			}
			defer func() { err = errors.Join(err, undo()) }()
			return "as " + s.Settings.User, login(ctx, s, s.Settings.User, ssh.PublicKeys(signer))
		},
	}
}

// authorise makes a key that accounts of the device accept until undo is called.
func authorise(ctx context.Context, s *boottest.Subject, users ...string) (_ ssh.Signer, undo func() error, err error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, nil, err
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	var forget []string
	for _, user := range users {
		forget = append(forget, fmt.Sprintf(`keys=$(getent passwd %[1]s | cut -d: -f6)/.ssh/authorized_keys
grep -vxF '%[2]s' $keys >$keys.kept; [ ! -e $keys ] || cat $keys.kept >$keys; rm $keys.kept
[ -s $keys ] || { rm -f $keys; rmdir --ignore-fail-on-non-empty $(dirname $keys); }`, user, line))
	}
	undo = func() error { return after(ctx, s, strings.Join(forget, "\n")) }
	for _, user := range users {
		if _, err := s.Run(ctx, fmt.Sprintf(`home=$(getent passwd %[1]s | cut -d: -f6)
install -d -m 0700 -o %[1]s -g %[1]s $home/.ssh && touch $home/.ssh/authorized_keys
chown %[1]s: $home/.ssh/authorized_keys && chmod 600 $home/.ssh/authorized_keys
echo '%[2]s' >>$home/.ssh/authorized_keys`, user, line)); err != nil {
			return nil, nil, errors.Join(err, undo())
		}
	}
	return signer, undo, nil
}

// givePassword gives accounts a password that nobody knows, until undo is called.
func givePassword(ctx context.Context, s *boottest.Subject, users []string) (password string, undo func() error, err error) {
	before, err := s.Run(ctx, "getent shadow "+strings.Join(users, " ")+" | cut -d: -f1,2")
	if err != nil {
		return "", nil, err
	}
	if n := len(strings.Fields(before)); n != len(users) {
		return "", nil, fmt.Errorf("of the accounts %q the device has %d", users, n)
	}
	undo = func() error { return after(ctx, s, "chpasswd --encrypted <<'END'\n"+before+"\nEND") }
	password = rand.Text()
	var lines strings.Builder
	for _, user := range users {
		fmt.Fprintf(&lines, "%s:%s\n", user, password)
	}
	if _, err := s.Run(ctx, "chpasswd <<'END'\n"+lines.String()+"END"); err != nil {
		return "", nil, errors.Join(err, undo())
	}
	return password, undo, nil
}

// after runs what puts the device back as it was, also when the proof is interrupted.
func after(ctx context.Context, s *boottest.Subject, command string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if _, err := s.Run(ctx, command); err != nil {
		return fmt.Errorf("putting the device back as it was: %w", err)
	}
	return nil
}

// login makes a connection of its own and runs a command.
func login(ctx context.Context, s *boottest.Subject, user string, methods ...ssh.AuthMethod) error {
	addr, err := s.Addr("tcp", 22)
	if err != nil {
		return err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	c, chans, reqs, err := ssh.NewClientConn(conn, addr, &ssh.ClientConfig{
		User: user, Auth: methods,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), //nolint:gosec // the guest is at the end of a pipe, and its keys are as new as it is
	})
	if err != nil {
		return err
	}
	client := ssh.NewClient(c, chans, reqs)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	return session.Run("true")
}
