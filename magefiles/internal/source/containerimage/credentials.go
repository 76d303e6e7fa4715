package containerimage

import (
	"fmt"
	"os"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// AuthVariable is the environment variable that may have what ~/.docker/config.json
// has after `docker login`. GitLab reads a CI variable of that name, too.
const AuthVariable = "DOCKER_AUTH_CONFIG"

type environment struct{}

// Resolve implements authn.Keychain.
func (environment) Resolve(target authn.Resource) (authn.Authenticator, error) {
	content := os.Getenv(AuthVariable)
	if content == "" {
		return authn.Anonymous, nil
	}
	file, err := config.LoadFromReader(strings.NewReader(content))
	if err != nil {
		// Not the error itself: it may quote a secret.
		return nil, fmt.Errorf(`%s is not what it should be: {"auths": {"%s": {"auth": "USER:TOKEN in base64"}}}`, AuthVariable, target.RegistryStr())
	}
	key := target.RegistryStr()
	if key == name.DefaultRegistry {
		key = authn.DefaultAuthKey
	}
	found, ok := file.AuthConfigs[key]
	if !ok {
		return authn.Anonymous, nil
	}
	return authn.FromConfig(authn.AuthConfig{
		Username: found.Username, Password: found.Password, Auth: found.Auth,
		IdentityToken: found.IdentityToken, RegistryToken: found.RegistryToken,
	}), nil
}
