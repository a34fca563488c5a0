# Sourced at each start of the container, before Jupyter. On a hub the home is a volume, empty for
# a new user: lay copies of the lessons there, or bring those up to date in which the user has not
# worked. Nothing here may stop the start.
(
  lay=(diffusion-lessons lab --no-server --folder)
  home=$HOME
  if [ "$(id -u)" = 0 ]; then # Jupyter will run as this user, in that home
    home=/home/$NB_USER
    lay=(setpriv --reuid "$NB_UID" --regid "$NB_GID" --clear-groups "${lay[@]}")
  fi
  HOME=$home "${lay[@]}" "$home/diffusion-lessons" || echo "There are no new lessons today" >&2
)
