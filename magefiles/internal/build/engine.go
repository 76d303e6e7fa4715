// Package build turns a base image and a recipe into an image.
package build

import (
	"context"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/source/baseimage"
)

// Job is one image to build.
type Job struct {
	Recipe   *recipe.Recipe
	Base     baseimage.Image
	Image    string    // the file to write; it appears only when it is complete
	LogDir   string    // receives a log for each provisioner
	Headroom int64     // bytes left free in the root file system
	Time     time.Time // of everything in the image that carries the time of its making
	Again    string    // the command that tries again, for error messages
}

// Engine builds images.
type Engine interface {
	Build(ctx context.Context, job Job) error
}
