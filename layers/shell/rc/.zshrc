# Read the user's own file first, so that the settings below win.
PROMPT='%~ %# '
if [[ -n $__ocicaliban_zdotdir ]]; then ZDOTDIR=$__ocicaliban_zdotdir; else unset ZDOTDIR; fi
unset __ocicaliban_zdotdir
[[ ! -r ${ZDOTDIR-$HOME}/.zshrc ]] || . ${ZDOTDIR-$HOME}/.zshrc

PATH=$OCICALIBAN_PATH:$PATH
export PYTHONPATH=$OCICALIBAN_PYTHONPATH
[[ -n $PYTHONPATH ]] || unset PYTHONPATH
unset OCICALIBAN_PATH OCICALIBAN_PYTHONPATH

# Some configurations set the prompt again before each command.
__ocicaliban_prompt() {
    [[ $PROMPT == "(ocicaliban $OCICALIBAN_PROJECT) "* ]] || PROMPT="(ocicaliban $OCICALIBAN_PROJECT) $PROMPT"
}
typeset -ga precmd_functions
precmd_functions+=(__ocicaliban_prompt)
