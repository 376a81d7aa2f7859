# The user's own file first: what comes after it holds whatever it says.
PROMPT='%~ %# '
if [[ -n $__ocicaliban_zdotdir ]]; then ZDOTDIR=$__ocicaliban_zdotdir; else unset ZDOTDIR; fi
unset __ocicaliban_zdotdir
[[ ! -r ${ZDOTDIR-$HOME}/.zshrc ]] || . ${ZDOTDIR-$HOME}/.zshrc

PATH=$OCICALIBAN_PATH:$PATH
export PYTHONPATH=$OCICALIBAN_PYTHONPATH
[[ -n $PYTHONPATH ]] || unset PYTHONPATH
unset OCICALIBAN_PATH OCICALIBAN_PYTHONPATH

# Some make their prompt anew each time.
__ocicaliban_prompt() {
    [[ $PROMPT == "(ocicaliban $OCICALIBAN_PROJECT) "* ]] || PROMPT="(ocicaliban $OCICALIBAN_PROJECT) $PROMPT"
}
typeset -ga precmd_functions
precmd_functions+=(__ocicaliban_prompt)
