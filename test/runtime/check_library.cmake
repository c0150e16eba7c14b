# Checks that the library is small and free of the compiler:
#   cmake -DLIBRARY=… -DSTRIP=… -DOUTPUT=… -P check_library.cmake
execute_process(COMMAND ldd ${LIBRARY} OUTPUT_VARIABLE needed
                COMMAND_ERROR_IS_FATAL ANY)
if(needed MATCHES "LLVM|MLIR|lld|clang")
  message(FATAL_ERROR "the library needs the compiler:\n${needed}")
endif()
if(needed MATCHES "not found")
  message(FATAL_ERROR "the library misses a library:\n${needed}")
endif()

execute_process(COMMAND ${STRIP} -o ${OUTPUT} ${LIBRARY}
                COMMAND_ERROR_IS_FATAL ANY)
file(SIZE ${OUTPUT} size)
if(size GREATER_EQUAL 2000000)
  message(FATAL_ERROR "stripped, the library has ${size} bytes, expected less than 2 MB")
endif()

execute_process(COMMAND ${NM} -D --defined-only --format=posix ${LIBRARY}
                OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX REPLACE "\n" ";" symbols "${symbols}")
foreach(symbol ${symbols})
  if(NOT symbol MATCHES "^mambit_")
    message(FATAL_ERROR "the library exports '${symbol}'")
  endif()
endforeach()
message(STATUS "${size} bytes stripped")
