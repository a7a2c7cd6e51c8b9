// This file lets the package declare functions of the runtime, which have no body here.
