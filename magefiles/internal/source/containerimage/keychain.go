package containerimage

import (
	"context"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
)

// keychain has the credentials of AuthVariable, or else those that Docker has. Where they can not be read, as
// with a desktop installation's credsStore on a server, it warns and has none:
// public images need none.
type keychain struct {
	logf func(format string, args ...any)

	mu     sync.Mutex
	failed map[string]error // by registry
}

func newKeychain(logf func(string, ...any)) *keychain {
	return &keychain{logf: logf, failed: map[string]error{}}
}

func (k *keychain) Resolve(r authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), r)
}

func (k *keychain) ResolveContext(ctx context.Context, r authn.Resource) (authn.Authenticator, error) {
	host := r.RegistryStr()
	if k.problem(host) != nil {
		return authn.Anonymous, nil // a program that fails can take its time over it
	}
	auth, err := authn.Resolve(ctx, authn.NewMultiKeychain(environment{}, authn.DefaultKeychain), r)
	if err == nil {
		return auth, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failed[host] == nil {
		k.logf("warning: going on without credentials for %s, since Docker's can not be read: %v", shown(host), err)
	}
	k.failed[host] = err
	return authn.Anonymous, nil
}

// problem is why there are no credentials for a registry, nil if there is no such reason.
func (k *keychain) problem(host string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failed[host]
}
