package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// choices are the words that may follow a flag.
func choices() map[string][]string {
	words := func(list []string) []string { return slices.Sorted(slices.Values(list)) }
	return map[string][]string{
		"model_type": words(kinds), "dtype": keys(dtypes), "log_format": {"auto", "json", "text"}, "log_level": keys(levels),
		"model_device": {"auto", "cpu", "cuda"},
	}
}

// completion prints a script for a shell: the commands, the flags, and the
// words of those flags that take one of a few.
func completion(l *line, w io.Writer) error {
	type option struct {
		name, help string
		alone      bool // takes no value
		words      []string
	}
	var options []option
	some := choices()
	for _, f := range l.model.Flags {
		if !f.Hidden {
			options = append(options, option{f.Name, f.Help, f.IsBool(), some[f.Name]})
		}
	}
	helps := map[string]string{}
	for _, n := range l.model.Children {
		helps[n.Name] = n.Help
	}
	switch l.shell {
	case "bash":
		var flags []string
		for _, o := range options {
			flags = append(flags, "--"+o.name)
		}
		fmt.Fprintf(w, `_remote_client_server() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
	[ "$before" = = ] && before=${COMP_WORDS[COMP_CWORD-2]}
	[ "$word" = = ] && word=
	case $before in
`)
		for _, o := range options {
			if len(o.words) > 0 {
				fmt.Fprintf(w, "\t--%s) COMPREPLY=($(compgen -W %q -- \"$word\")); return ;;\n", o.name, strings.Join(o.words, " "))
			}
		}
		fmt.Fprintf(w, `	--model_files|--api_key_file) COMPREPLY=($(compgen -f -- "$word")); return ;;
	completion) COMPREPLY=($(compgen -W %q -- "$word")); return ;;
	esac
	if [ "$COMP_CWORD" = 1 ] && [ "${word#-}" = "$word" ]; then
		COMPREPLY=($(compgen -W %q -- "$word"))
	else
		COMPREPLY=($(compgen -W %q -- "$word"))
	fi
}
complete -F _remote_client_server remote-client-server
`, strings.Join(shells, " "), strings.Join(commands, " "), strings.Join(flags, " "))
	case "zsh":
		fmt.Fprint(w, "#compdef remote-client-server\n_remote_client_server() {\n\tlocal -a commands\n\tcommands=(\n")
		for _, name := range commands {
			fmt.Fprintf(w, "\t\t%s\n", single(name+":"+helps[name]))
		}
		fmt.Fprint(w, "\t)\n\t_arguments \\\n\t\t'1: :{_describe command commands}' \\\n")
		for _, o := range options {
			spec := "--" + o.name + "[" + strings.NewReplacer("[", "(", "]", ")", ":", " -").Replace(o.help) + "]"
			switch {
			case len(o.words) > 0:
				spec = "--" + o.name + "=" + spec[len("--"+o.name):] + ":" + o.name + ":(" + strings.Join(o.words, " ") + ")"
			case !o.alone:
				spec = "--" + o.name + "=" + spec[len("--"+o.name):] + ":" + o.name + ":_files"
			}
			fmt.Fprintf(w, "\t\t%s \\\n", single(spec))
		}
		fmt.Fprintf(w, "\t\t'2: :(%s)'\n}\ncompdef _remote_client_server remote-client-server\n", strings.Join(shells, " "))
	case "fish":
		fmt.Fprint(w, "complete -c remote-client-server -f\n")
		for _, name := range commands {
			fmt.Fprintf(w, "complete -c remote-client-server -n __fish_use_subcommand -a %s -d %s\n", name, single(helps[name]))
		}
		fmt.Fprintf(w, "complete -c remote-client-server -n '__fish_seen_subcommand_from completion' -a '%s'\n", strings.Join(shells, " "))
		for _, o := range options {
			fmt.Fprintf(w, "complete -c remote-client-server -l %s -d %s", o.name, single(o.help))
			switch {
			case len(o.words) > 0:
				fmt.Fprintf(w, " -x -a '%s'", strings.Join(o.words, " "))
			case !o.alone:
				fmt.Fprint(w, " -r -F")
			}
			fmt.Fprintln(w)
		}
	default:
		return fmt.Errorf("which shell? one of %s", strings.Join(shells, ", "))
	}
	return nil
}

// single quotes s for a shell.
func single(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
