// That this file is here lets idle.go declare functions that have no body.
