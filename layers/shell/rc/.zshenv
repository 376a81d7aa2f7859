# zsh looks for its files in $ZDOTDIR, which is this folder. Each of them reads the user's own file.
if [[ -n $OCICALIBAN_ZDOTDIR ]]; then ZDOTDIR=$OCICALIBAN_ZDOTDIR; else unset ZDOTDIR; fi
unset OCICALIBAN_ZDOTDIR
[[ ! -r ${ZDOTDIR-$HOME}/.zshenv ]] || . ${ZDOTDIR-$HOME}/.zshenv
if [[ -o interactive ]]; then
    __ocicaliban_zdotdir=${ZDOTDIR-}
    ZDOTDIR=/run/ocicaliban
fi
