# zsh looks for its files in $ZDOTDIR, which is here, and they hand over to the user's own.
unset ZDOTDIR
[[ ! -r ~/.zshenv ]] || . ~/.zshenv
if [[ -o interactive ]]; then
    __ocicaliban_zdotdir=${ZDOTDIR-}
    ZDOTDIR=/run/ocicaliban
fi
