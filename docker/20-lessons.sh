# Sourced at each start of the container, before Jupyter. On a hub the home is a volume, empty for
# a new user: put the lessons there, and leave alone what is there already. Who wants them fresh
# renames the folder. Nothing here may stop the start.
(
  home=$HOME
  [ "$(id -u)" = 0 ] && home=/home/$NB_USER # Jupyter will run as this user, in that home
  target=$home/diffusion-lessons
  [ -e "$target" ] && exit
  part=$(mktemp -d "$home/.diffusion-lessons.XXXXXX") &&
    cp "${LESSONS:-/opt/diffusion-lessons/notebooks}"/*.ipynb "$part" &&
    chmod 755 "$part" &&
    { [ "$(id -u)" != 0 ] || chown -R "$NB_UID:$NB_GID" "$part"; } &&
    mv -T "$part" "$target" || # whole or not at all
    { echo "The lessons could not be copied to $target" >&2; rm -rf "$part"; }
)
