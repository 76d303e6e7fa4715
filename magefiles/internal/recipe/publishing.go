package recipe

import "github.com/zclconf/go-cty/cty"

// checkPublishing checks the variables that say whether an image may be released
// against those that it depends on.
func (l *loader) checkPublishing() {
	bad := func(variable, text string) {
		l.problem(l.variables[variable].from, "Invalid value for variable", "%s", text)
	}
	if l.is("publishable", cty.False) {
		if l.variables["release_url_base"] != nil && !l.is("release_url_base", cty.StringVal("")) {
			bad("release_url_base", "The images of this profile are not publishable, so they have no address: leave it out.")
		}
		if l.variables["publish_to"] != nil && !l.isEmpty("publish_to") {
			bad("publish_to", "The images of this profile are not publishable: leave it out.")
		}
		return
	}
	if !l.is("publishable", cty.True) {
		return
	}
	if l.is("release_url_base", cty.StringVal("")) {
		bad("publishable", "A publishable image needs the address of its release: set release_url_base.")
	}
	if l.isEmpty("publish_to") {
		bad("publishable", "A publishable image needs a place to be published at: set publish_to.")
	}
	if l.is("base_image_kind", cty.StringVal("bootstrap")) {
		bad("publishable", "An image made from a bootstrapped base image is for tests and can not be publishable.")
	}
	if l.is("container_source", cty.StringVal("stand-ins")) {
		bad("publishable", "An image of stand-ins is for tests and can not be publishable.")
	}
}

// is says whether the variable is declared and has the value.
func (l *loader) is(name string, value cty.Value) bool {
	v, ok := l.variables[name]
	return ok && v.value.IsWhollyKnown() && v.value.RawEquals(value)
}

// isEmpty says whether the variable is declared and a list without elements.
func (l *loader) isEmpty(name string) bool {
	v, ok := l.variables[name]
	return ok && v.value.IsWhollyKnown() && !v.value.IsNull() && v.value.CanIterateElements() && v.value.LengthInt() == 0
}
