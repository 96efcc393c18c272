//! The command line of the daemon: Kamailio's options and their long forms.
