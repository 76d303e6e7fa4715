variable "a" { # want: The recipe needs one source | The recipe needs one build
  default = 1
}
