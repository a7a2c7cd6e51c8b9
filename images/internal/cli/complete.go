package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"picolab/images/manifest"
	"picolab/recipes"
)

// completion proposes words for a shell.
type completion = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective)

// completeRecipes proposes the embedded recipes and the recipe files here, for the first n arguments.
func completeRecipes(n int) completion {
	return func(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return append(matching(recipes.Names(), word), filesLike(word, isRecipe)...), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeImages proposes folders with an image in them and disks, for the first n arguments.
func completeImages(n int) completion {
	return func(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return filesLike(word, isImage), cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	}
}

// completeAny proposes recipes, locks and images.
func completeAny(n int) completion {
	right := func(path string) bool { return isRecipe(path) || isImage(path) || filepath.Ext(path) == ".lock" }
	return func(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return append(matching(recipes.Names(), word), filesLike(word, right)...), cobra.ShellCompDirectiveNoFileComp
	}
}

func matching(names []string, word string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasPrefix(n, word) })
}

// filesLike lists what begins with the word and is right; folders come with a slash, to go on with.
func filesLike(word string, right func(path string) bool) []string {
	dir, base := filepath.Split(word)
	entries, err := os.ReadDir(filepath.Clean("./" + dir))
	if filepath.IsAbs(dir) {
		entries, err = os.ReadDir(dir)
	}
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		path := dir + e.Name()
		switch hidden := strings.HasPrefix(e.Name(), ".") && base == ""; {
		case hidden || !strings.HasPrefix(e.Name(), base):
		case right(path):
			out = append(out, path)
		case e.IsDir():
			out = append(out, path+"/")
		}
	}
	return out
}

func isRecipe(path string) bool {
	return recipes.IsFile(path) && strings.HasPrefix(filepath.Ext(path), ".y")
}

func isImage(path string) bool {
	if slices.Contains([]string{".img", ".raw", ".qcow2"}, filepath.Ext(path)) {
		return true
	}
	_, err := os.Stat(filepath.Join(path, manifest.Name))
	return err == nil
}
