package recipes

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/goccy/go-yaml"
)

// Encode writes the recipe as one text that extends nothing and means the same: fields that are not set are left out, and
// local files have their names of Locals, relative to where the recipe was.
func (r *Recipe) Encode() ([]byte, error) {
	c := *r
	c.Extends = ""
	c.Files = append([]File{}, r.Files...)
	c.Kernel.Extra = append([]Local{}, r.Kernel.Extra...)
	c.rename(r.Locals())
	data, err := yaml.Marshal(plain(reflect.ValueOf(c)))
	if err != nil {
		return nil, fmt.Errorf("encode recipe %s: %w", r.Name, err)
	}
	again, err := Parse(r.Name+".yaml", data)
	if err != nil {
		return nil, fmt.Errorf("encode recipe %s: %w", r.Name, err)
	}
	if !same(&c, again) {
		return nil, fmt.Errorf("encode recipe %s: %w", r.Name, errors.New("the text does not mean the same"))
	}
	return data, nil
}

// rename gives local files their names.
func (r *Recipe) rename(locals []LocalFile) {
	byNode := map[string]string{}
	for _, l := range locals {
		byNode[l.Node] = l.Name
	}
	for i := range r.Files {
		r.Files[i].Source = byNode[fmt.Sprintf("files[%d]", i)]
	}
	for i := range r.Kernel.Extra {
		r.Kernel.Extra[i].Path = byNode[fmt.Sprintf("kernel.extra[%d]", i)]
	}
	r.Kernel.Image.Path, r.Kernel.Tree.Path = byNode["kernel.image"], byNode["kernel.tree"]
}

// same compares what recipes say; an empty list is like none.
func same(a, b *Recipe) bool {
	x, errA := json.Marshal(plain(reflect.ValueOf(*a)))
	y, errB := json.Marshal(plain(reflect.ValueOf(*b)))
	return errA == nil && errB == nil && string(x) == string(y)
}

// plain turns a value into what a YAML library writes without empty fields: ordered maps, lists, scalars.
func plain(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Struct:
		var out yaml.MapSlice
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if tag := f.Tag.Get("yaml"); f.IsExported() && !empty(v.Field(i)) {
				out = append(out, yaml.MapItem{Key: tag, Value: plain(v.Field(i))})
			}
		}
		return out
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = plain(v.Index(i))
		}
		return out
	case reflect.String:
		return v.String()
	}
	return v.Interface()
}

func empty(v reflect.Value) bool { return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 }
