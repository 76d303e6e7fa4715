package containerimage

import (
	"encoding/json"
	"fmt"
	"mime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// document is a registry's answer to the question for a manifest: that of an
// image, or an index of several.
type document struct {
	raw    []byte
	digest v1.Hash

	SchemaVersion int             `json:"schemaVersion"`
	Manifests     []v1.Descriptor `json:"manifests"` // of an index
	Config        json.RawMessage `json:"config"`    // of an image
}

func (d document) isIndex() bool { return d.Manifests != nil }

// readDocument goes by the content: what stands between this machine and a
// registry answers with a page of its own under whatever type.
func readDocument(answer *remote.Descriptor) (document, error) {
	d := document{raw: answer.Manifest, digest: answer.Digest}
	if err := json.Unmarshal(d.raw, &d); err != nil || d.SchemaVersion == 0 {
		kind, _, err := mime.ParseMediaType(string(answer.MediaType))
		if err != nil {
			kind = "something unknown"
		}
		return d, &noRegistryError{fmt.Sprintf("the answer is %s, not a manifest", kind)}
	}
	switch {
	case d.SchemaVersion != 2:
		return d, fmt.Errorf("its manifest has the version %d, which Docker no longer reads: choose a newer tag", d.SchemaVersion)
	case (d.Config != nil) == d.isIndex():
		return d, fmt.Errorf("its manifest %s is neither that of one image nor an index of several", d.digest)
	}
	return d, nil
}

// noRegistryError is about an answer that no registry gives.
type noRegistryError struct{ what string }

func (e *noRegistryError) Error() string { return e.what }
