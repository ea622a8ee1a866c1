//go:build !wasip1

package guest

import (
	"embed"
	"io/fs"
	"path"
)

//go:embed guest.go records.go records_gen.go exports_wasip1.go host_other.go
//go:embed c rust assemblyscript/*.ts assemblyscript/*.json
var sources embed.FS // never written to

// Binding gives the files that a policy in a language needs besides its own, by their names beside the
// policy's main file: lang is go, c, rust, as or wat, as in package build. A policy that carries them
// needs nothing else of this repository. There are none for WAT, and none for an unknown language.
//
// For Go they are this package without this file, in a folder of its own: guest/guest.go and so on.
func Binding(lang string) map[string][]byte {
	files := map[string][]byte{}
	for _, name := range bindingFiles(lang) {
		text, err := fs.ReadFile(sources, name)
		if err != nil {
			panic("guest: " + err.Error()) // it has been embedded
		}
		if lang == "go" {
			files["guest/"+name] = text
		} else {
			files[path.Base(name)] = text
		}
	}
	return files
}

func bindingFiles(lang string) []string {
	switch lang {
	case "go":
		return []string{"guest.go", "records.go", "records_gen.go", "exports_wasip1.go", "host_other.go"}
	case "c":
		return []string{"c/datanode_policy.h"}
	case "rust":
		return []string{"rust/datanode_policy.rs"}
	case "as":
		return []string{"assemblyscript/datanode_policy.ts", "assemblyscript/package.json",
			"assemblyscript/package-lock.json"}
	}
	return nil
}
